#[cfg(feature = "candle")]
use super::CandleError;
use std::fmt;
use std::str::FromStr;

/// Where user functions run. The one place that decides on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by its number; needs the feature `cuda`.
    Cuda(usize),
    /// A Metal device by its number; needs the feature `metal`.
    Metal(usize),
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`CandleError`] if the build has no such device or the machine none.
    #[cfg(feature = "candle")]
    pub fn open(self) -> Result<candle_core::Device, CandleError> {
        let built_without = |name: &str| {
            candle_core::Error::msg(format!(
                "this program is built without {name}: build it with the feature `{}`",
                name.to_lowercase()
            ))
        };
        Ok(match self {
            DeviceChoice::Cuda(_) if cfg!(not(feature = "cuda")) => Err(built_without("CUDA"))?,
            DeviceChoice::Metal(_) if cfg!(not(feature = "metal")) => Err(built_without("Metal"))?,
            DeviceChoice::Cpu => candle_core::Device::Cpu,
            DeviceChoice::Cuda(number) => candle_core::Device::new_cuda(number)?,
            DeviceChoice::Metal(number) => candle_core::Device::new_metal(number)?,
        })
    }
}

/// `cpu`, `cuda`, `cuda:1`, `metal`.
impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        match (kind, number.parse()) {
            ("cpu", _) if text == "cpu" => Ok(DeviceChoice::Cpu),
            ("cuda", Ok(number)) => Ok(DeviceChoice::Cuda(number)),
            ("metal", Ok(number)) => Ok(DeviceChoice::Metal(number)),
            _ => Err(format!("`{text}` is no device; there are cpu, cuda, cuda:N, metal")),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
            DeviceChoice::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_parse_and_print() {
        for (text, want) in [
            ("cpu", Some("cpu")),
            ("cuda", Some("cuda:0")),
            ("cuda:3", Some("cuda:3")),
            ("metal", Some("metal:0")),
            ("cpu:1", None),
            ("cuda:x", None),
            ("tpu", None),
            ("", None),
        ] {
            let device = text.parse::<DeviceChoice>().ok().map(|d| d.to_string());
            assert_eq!(device.as_deref(), want, "{text}");
        }
    }
}
