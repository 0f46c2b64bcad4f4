"""What every room needs and none owns: clear errors, files written whole, folders, devices, seeds."""
