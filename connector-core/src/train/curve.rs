//! The loss over the steps of a run, as a picture.

use super::log::StepRecord;
use plotters::prelude::*;
use std::error::Error;

const SIZE: (u32, u32) = (800, 480);

/// An SVG of the loss of each record.
///
/// # Errors
/// If the picture cannot be drawn.
pub(super) fn draw(title: &str, records: &[StepRecord]) -> Result<String, String> {
    let mut svg = String::new();
    draw_into(&mut svg, title, records).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw_into(svg: &mut String, title: &str, records: &[StepRecord]) -> Result<(), Box<dyn Error>> {
    let losses: Vec<f64> = records.iter().map(|record| record.loss).collect();
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
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_run_can_be_drawn() {
        let record = |step: u64, loss: f64| -> StepRecord {
            serde_json::from_value(serde_json::json!({
                "step": step, "loss": loss, "lr": 0.0, "grad_norm": 0.0, "consumed_samples": 0,
                "tokens": 0, "seconds": 0.0, "forward_seconds": 0.0, "backward_seconds": 0.0,
                "optimizer_seconds": 0.0,
            }))
            .unwrap()
        };
        for losses in [&[][..], &[2.0], &[0.0, 0.0], &[5.0, 1e9, 0.1]] {
            let records: Vec<_> =
                (1..).zip(losses).map(|(step, loss)| record(step, *loss)).collect();
            let svg = draw("<a & b>", &records).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{losses:?}");
            assert!(svg.contains("&lt;a &amp; b&gt;"), "{svg}");
        }
    }
}
