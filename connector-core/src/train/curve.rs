//! The loss over the steps of a run, and that of what is held out, as a picture.

use super::log::StepRecord;
use plotters::prelude::*;
use std::error::Error;

const SIZE: (u32, u32) = (800, 480);

/// An SVG of the loss of each record, and of the validation losses that some have.
///
/// # Errors
/// If the picture cannot be drawn.
pub(super) fn draw(title: &str, records: &[StepRecord]) -> Result<String, String> {
    let mut svg = String::new();
    draw_into(&mut svg, title, records).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw_into(svg: &mut String, title: &str, records: &[StepRecord]) -> Result<(), Box<dyn Error>> {
    let held_out: Vec<(u64, f64)> =
        records.iter().filter_map(|record| Some((record.step, record.val_loss?))).collect();
    let losses = records.iter().map(|record| record.loss);
    let losses: Vec<f64> = losses.chain(held_out.iter().map(|(_, loss)| *loss)).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min).min(0.0);
    let most = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let most = if most > least { most * 1.05 } else { least + 1.0 };
    let first = records.first().map_or(0, |record| record.step);
    let last = records.last().map_or(1, |record| record.step).max(first + 1);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(first..last, least..most)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("step")
        .y_desc("loss (nats per token)")
        .label_style(("sans-serif", 14))
        .draw()?;
    let points = records.iter().map(|record| (record.step, record.loss));
    let training = chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    if !held_out.is_empty() {
        training.label("training").legend(move |(x, y)| {
            PathElement::new(vec![(x, y), (x + 18, y)], BLUE.stroke_width(2))
        });
        chart
            .draw_series(LineSeries::new(held_out, RED.stroke_width(2)).point_size(3))?
            .label("validation")
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], RED.stroke_width(2)));
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .border_style(BLACK.mix(0.2))
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_run_can_be_drawn() {
        let record = |step: u64, loss: f64, val_loss: Option<f64>| -> StepRecord {
            serde_json::from_value(serde_json::json!({
                "step": step, "loss": loss, "val_loss": val_loss, "lr": 0.0, "grad_norm": 0.0, "consumed_samples": 0,
                "tokens": 0, "seconds": 0.0, "forward_seconds": 0.0, "backward_seconds": 0.0,
                "optimizer_seconds": 0.0,
            }))
            .unwrap()
        };
        for (losses, val_loss) in [
            (&[][..], None),
            (&[2.0], None),
            (&[2.0], Some(3.0)),
            (&[0.0, 0.0], None),
            (&[5.0, 1e9, 0.1], Some(0.5)),
        ] {
            let records: Vec<_> =
                (1..).zip(losses).map(|(step, loss)| record(step, *loss, val_loss)).collect();
            let svg = draw("<a & b>", &records).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{losses:?}");
            assert!(svg.contains("&lt;a &amp; b&gt;"), "{svg}");
            assert_eq!(svg.contains("validation"), val_loss.is_some(), "{svg}");
        }
    }
}
