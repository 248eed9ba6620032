//! The memory that a measurement took.

use engine::Device;

/// Returns the most memory in use at once, in MiB: that of arrays on a GPU, else that of this process if the system tells.
pub fn peak_memory(device: &Device) -> Option<f64> {
    if let Device::Cuda(cuda) = device {
        return Some(cuda.peak_bytes() as f64 / (1 << 20) as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}
