"""Short stories, one YAML file each."""
