//! How much of a head is rotated, in every spelling of `config.json`.

use crate::config::Part;
use serde_json::Value;

pub(super) const SHARE: &str = "partial_rotary_factor";

/// How much of a head is rotated, in either spelling. Before the rotary embedding, which moves it to
/// where transformers 5 has it.
pub(super) const PARTIAL: Part = Part {
    names: &[SHARE],
    model: &["rotary_percent"],
    read: |reading| {
        let fields = &reading.fields;
        let places = [SHARE.to_string(), format!("rope_parameters.{SHARE}")];
        let mut found = places.iter().filter_map(|place| fields.optional::<f64>(place));
        let first = found.next();
        if let (Some(first), Some(other)) = (first, found.next())
            && first != other
        {
            fields.refuse(&places[1], format!("is {other}, but \"{SHARE}\" is {first}"));
        }
        let absent = reading.absent(SHARE).and_then(|share| share.value().as_f64());
        let share = first.unwrap_or_else(|| {
            let share = absent.unwrap_or(1.0);
            fields.defaulted(SHARE, &share);
            share
        });
        reading.put("rotary_percent", if share == 1.0 { Value::Null } else { share.into() });
    },
    write: |writing| {
        let share = writing.get("rotary_percent").as_f64().unwrap_or(1.0);
        writing.put(SHARE, share);
    },
};

const SIZE: &str = "rotary_dim";

/// The same in the files of MiniMax-M2, which say it as `rotary_dim`.
pub(super) const ROTARY_DIM: Part = Part {
    names: &[SIZE, SHARE],
    model: &["rotary_percent"],
    read: |reading| {
        (PARTIAL.read)(reading);
        let Some(size) = reading.fields.optional::<f64>(SIZE) else { return };
        let own = size / reading.size("kv_channels").max(1) as f64;
        let share = reading.model["rotary_percent"].as_f64().unwrap_or(1.0);
        let places = [SHARE.to_string(), format!("rope_parameters.{SHARE}")];
        if places.iter().any(|place| reading.fields.raw(place).is_some()) && own != share {
            let problem = format!("is {own} of a head, but \"{SHARE}\" is {share}");
            reading.fields.refuse(SIZE, problem);
        }
        reading.put("rotary_percent", if own == 1.0 { Value::Null } else { own.into() });
    },
    write: |writing| {
        let share = writing.get("rotary_percent").as_f64().unwrap_or(1.0);
        let size = share * writing.get("kv_channels").as_f64().unwrap_or(0.0);
        if writing.spelling.has(SIZE) && size.fract() == 0.0 {
            writing.put(SIZE, size as u64);
        } else {
            (PARTIAL.write)(writing);
        }
    },
};
