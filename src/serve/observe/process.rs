//! Figures of the process, from `/proc`; named as Prometheus's own clients name them.

use super::exposition::Exposition;

/// Writes what the system tells of this process; nothing where there is no `/proc`.
pub fn write(text: &mut Exposition) {
    // Fixed by the kernel's interface to user space on every architecture that Linux still builds for.
    const TICKS_PER_SECOND: f64 = 100.0;
    if let Some(fields) = read("/proc/self/stat").as_deref().and_then(after_name) {
        // Numbered as in proc(5), where the state is field 3.
        let field = |number: usize| fields.get(number - 3).and_then(|value| value.parse::<f64>().ok());
        if let (Some(user), Some(system)) = (field(14), field(15)) {
            let seconds = (user + system) / TICKS_PER_SECOND;
            text.single("process_cpu_seconds_total", "counter", "User and system time.", seconds);
        }
        if let Some(threads) = field(20) {
            text.single("process_threads", "gauge", "Threads.", threads);
        }
        if let Some(bytes) = field(23) {
            text.single("process_virtual_memory_bytes", "gauge", "Address space.", bytes);
        }
        if let (Some(ticks), Some(boot)) = (field(22), boot_time()) {
            let start = boot + ticks / TICKS_PER_SECOND;
            text.single("process_start_time_seconds", "gauge", "Start, seconds since 1970.", start);
        }
    }
    if let Some(bytes) = resident_bytes() {
        text.single("process_resident_memory_bytes", "gauge", "Memory in use.", bytes);
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        text.single("process_open_fds", "gauge", "Open files and sockets.", entries.count());
    }
    let limit = read("/proc/self/limits").and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?.to_string();
        line.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    if let Some(limit) = limit {
        text.single("process_max_fds", "gauge", "Limit of open files and sockets.", limit);
    }
}

/// Bytes of memory that the process holds, `None` where there is no `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let status = read("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The fields after the command's name, which may itself hold spaces and brackets.
fn after_name(stat: &str) -> Option<Vec<String>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_string).collect())
}

fn boot_time() -> Option<f64> {
    let stat = read("/proc/stat")?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
