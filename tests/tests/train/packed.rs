//! What is packed into one row is computed as if it stood alone; what is read in parts adds up.

use crate::support::{Desk, losses};
use candle_core::{DType, Tensor};
use connector_core::model::{LoadOptions, Loaded};
use connector_core::train::{CosineAnnealing, FineTuningData, Precision, Trainer};
use connector_tests::fixture;

#[test]
fn documents_of_a_row_do_not_see_each_other() {
    for name in ["llama", "mistral", "gemma", "mixtral"] {
        let mut options = LoadOptions::default();
        options.dtype = Some(DType::F32);
        let loaded = Loaded::open(fixture(&format!("{name}/hf")), &options).unwrap();
        let model = loaded.model().unwrap();
        let tokens =
            [[1u32, 60, 61, 1, 62, 90, 95, 96, 4, 5], [1, 20, 30, 40, 50, 60, 70, 80, 90, 10]];
        let lengths = [vec![3, 5, 2], vec![10]];
        let row = Tensor::new(&tokens, model.device()).unwrap();
        let packed = model.hidden_packed(&row, &lengths).unwrap();
        for (number, lengths) in lengths.iter().enumerate() {
            let mut at = 0;
            for &len in lengths {
                let alone = row.narrow(0, number, 1).unwrap().narrow(1, at, len).unwrap();
                let want = model.hidden(&alone.contiguous().unwrap(), None).unwrap();
                let got = packed.narrow(0, number, 1).unwrap().narrow(1, at, len).unwrap();
                let apart = (want - got).unwrap().abs().unwrap().max_all().unwrap();
                let apart = apart.to_scalar::<f32>().unwrap();
                assert!(apart < 1e-4, "{name}: document at {at} of row {number}: {apart:e}");
                at += len;
            }
        }
        assert!(model.hidden_packed(&row, &[vec![10], vec![9]]).is_err());
    }
}

/// Two rows at once, or one after the other before a step: the same gradient but for rounding.
#[test]
fn accumulated_gradients_are_those_of_the_whole_batch() {
    let desk = Desk::of("llama");
    let desk = Desk { data: FineTuningData { seq_length: 20, ..desk.data }, ..desk };
    let trainer = |name, micro_batch_size, accumulate_grad_batches| Trainer {
        max_steps: 2,
        micro_batch_size,
        accumulate_grad_batches,
        ..desk.trainer(name)
    };
    let whole = desk.run(&trainer("whole", 2, 1)).unwrap();
    let parts = desk.run(&trainer("parts", 1, 2)).unwrap();
    for (whole, parts) in whole.records.iter().zip(&parts.records) {
        assert!((whole.loss - parts.loss).abs() < 1e-4 * whole.loss, "{whole:?} {parts:?}");
        assert!((whole.grad_norm - parts.grad_norm).abs() < 1e-3 * whole.grad_norm);
        assert_eq!(whole.tokens, parts.tokens);
    }
}

/// Weights of 16 bits are trained in 32: small steps are not lost, and a run goes on with all bits.
#[test]
fn weights_of_few_bits_are_trained_in_f32() {
    for (name, precision) in [("mistral", Precision::F32), ("gemma", Precision::Bf16Mixed)] {
        let desk = Desk::of(name);
        let trainer = |run| Trainer {
            precision,
            lr_scheduler: CosineAnnealing { max_lr: 1e-3, min_lr: 0.0, warmup_steps: 1 },
            ..desk.trainer(run)
        };
        let unbroken = desk.run(&trainer("whole")).unwrap();
        assert!(unbroken.records[5].loss < unbroken.records[0].loss, "{name}");
        desk.stop_after(&trainer("broken"), 3).unwrap();
        let resumed = desk.run(&trainer("broken")).unwrap();
        assert_eq!(losses(&resumed), losses(&unbroken), "{name}");
    }
}
