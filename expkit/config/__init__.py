"""From a command line to checked, plain configs: registry, YAML, Hydra, the plan of jobs, completion."""
