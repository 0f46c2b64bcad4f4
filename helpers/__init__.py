"""Self-supervised image learning, from pixels to verdict. The rooms, lowest first: core, data | views | models, methods,
training, evaluation, insight, study, commands. Each may use what lies below it and nothing above or beside it."""
