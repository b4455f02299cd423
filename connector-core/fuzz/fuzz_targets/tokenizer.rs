#![no_main]

connector_fuzz::target!(tokenizer);
