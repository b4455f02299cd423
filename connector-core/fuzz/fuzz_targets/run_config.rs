#![no_main]

connector_fuzz::target!(run_config);
