#![no_main]

connector_fuzz::target!(model_yaml);
