//! The families: what their configs may say, what comes back of it, what their checkpoints may be.

mod first_wave;
mod gemma;
mod mistral;
mod mixtral;
mod published;
mod qwen;
mod qwen3_moe;
mod round_trip;
mod support;
