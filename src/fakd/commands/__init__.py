"""The commands of `fakd`, one file each, named as they are typed."""
