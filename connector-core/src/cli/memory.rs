/// The most memory that this process has had at once, in bytes, if the system says.
#[cfg(target_os = "linux")]
pub(super) fn peak() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The most memory that this process has had at once, in bytes, if the system says.
#[cfg(not(target_os = "linux"))]
pub(super) fn peak() -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read() {
        for (status, want) in [
            ("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", Some(2 << 20)),
            ("VmHWM:\t2048", None),
            ("VmHWM:\tmuch kB", None),
            ("", None),
        ] {
            assert_eq!(parse(status), want, "{status}");
        }
    }
}
