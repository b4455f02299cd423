#![no_main]

connector_fuzz::target!(torch_save);
