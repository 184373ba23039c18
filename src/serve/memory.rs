//! The memory that the system grants, beside what the models take: a container that is too small is killed without a word.

use std::path::{Path, PathBuf};

use super::observe::process;
use super::settings::ModelSource;
use crate::error::{Error, Result};
use crate::model::{Config, NGRAMS_FILE, gate_table_bytes};

/// Says so where the limit of the control group is below what the models take.
///
/// It goes on all the same: the estimate is one, and a limit may be raised while the process runs.
pub fn check(sources: &[ModelSource]) {
    let Some(limit) = limit() else { return };
    let needed = needed(sources);
    if needed > limit {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        tracing::error!(
            needed_mib = mib(needed),
            limit_mib = mib(limit),
            "the models take some {} MiB, and the container's memory is limited to {} MiB: expect the process to be killed; \
             raise the limit",
            mib(needed),
            mib(limit)
        );
    }
}

/// Whether there is room to load the model of `directory` beside what is in memory now.
///
/// # Errors
/// [`Error::Invalid`] where there is not, with both figures.
pub fn check_room(directory: &Path) -> Result<()> {
    let (Some(limit), Some(used)) = (limit(), process::resident_bytes()) else { return Ok(()) };
    let needed = needed(&[ModelSource::directory(directory)]) - PROCESS_BYTES;
    room(needed, used, limit).map_err(|reason| Error::invalid(directory, reason))
}

fn room(needed: u64, used: u64, limit: u64) -> Result<(), String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    if used.saturating_add(needed) <= limit {
        return Ok(());
    }
    Err(format!(
        "loading it takes some {} MiB beside the {} MiB in use, and the container's memory is limited to {} MiB",
        mib(needed),
        mib(used),
        mib(limit)
    ))
}

/// Has the process go on without huge pages, whatever the allocator advises; the tables of models have them all the same.
/// What clients have comes and goes in small pieces: a few bytes in each of many pages of two megabytes held twice what
/// was charged for them. Where the system does not let that be said, it stays as it is.
pub fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// A server without a model: threads, allocator, pages of code that cannot be given back. Measured: 10 to 11 MB with a model
/// of a few kilobytes.
const PROCESS_BYTES: u64 = 11_000_000;
/// What a model's weights (32 bits each) and gate table take while they are loaded and packed, times their own size.
/// Measured as the lowest limit of a control group in which a server comes up: `models/imdb` at 60 MiB and not at 56,
/// `models/keras-imdb` at 20 MiB and not at 16.
const LOADING: f64 = 1.25;

/// Bytes that a process serving `sources` takes; of a model that cannot be read nothing, its loading will say why.
fn needed(sources: &[ModelSource]) -> u64 {
    let model = |source: &ModelSource| -> Option<u64> {
        let path = source.directory.join("config.json");
        // Anything else could be endless, or never come.
        std::fs::metadata(&path).ok().filter(|file| file.is_file() && file.len() < 1 << 20)?;
        let config = Config::from_bytes(&path, &std::fs::read(&path).ok()?).ok()?;
        let bytes = |file: &str| std::fs::metadata(source.directory.join(file)).map_or(0, |file| file.len());
        let files = bytes("model.safetensors") + bytes(NGRAMS_FILE) + bytes("vocab.txt");
        let weights = config.vocab_size.saturating_mul(config.embedding_dim).saturating_mul(size_of::<f32>());
        let packed = weights.saturating_add(gate_table_bytes(&config)) as f64 * LOADING;
        Some(files.saturating_add(packed as u64))
    };
    sources.iter().filter_map(model).fold(PROCESS_BYTES, u64::saturating_add)
}

/// The lowest memory limit in bytes of the control groups that this process is in; `None` where there is none.
pub fn limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    lowest(&groups, &mounts, |file| std::fs::read_to_string(file).ok())
}

/// As [`limit`], from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc(5)).
fn lowest(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut lowest: Option<u64> = None;
    for line in groups.lines() {
        // hierarchy:controllers:path; version 2 has the hierarchy 0 and no controllers.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (kind, file) = match controllers {
            "" => ("cgroup2", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => ("cgroup", "memory.limit_in_bytes"),
            _ => continue,
        };
        for mount in mounts.lines() {
            // id, parent, device, root, mount point, options, optional fields; then: type, source, options of the file system.
            let Some((own, system)) = mount.split_once(" - ") else { continue };
            let own: Vec<&str> = own.split(' ').collect();
            let mut system = system.split(' ');
            let (Some(&root), Some(&point)) = (own.get(3), own.get(4)) else { continue };
            if system.next() != Some(kind) {
                continue;
            }
            let options = system.nth(1).unwrap_or_default();
            if kind == "cgroup" && !options.split(',').any(|option| option == "memory") {
                continue;
            }
            // Inside a container the mount shows the container's group, whose path may be told from outside.
            let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
            let inside = inside.strip_prefix("/").unwrap_or(inside);
            let mut folder: Option<PathBuf> = Some(Path::new(point).join(inside));
            while let Some(here) = folder.filter(|folder| folder.starts_with(point)) {
                // `max` is none in version 2; version 1 writes a number beyond any machine's memory.
                let limit = read(&here.join(file)).and_then(|text| text.trim().parse::<u64>().ok());
                let limit = limit.filter(|limit| *limit < 1 << 60);
                lowest = [lowest, limit].into_iter().flatten().min();
                folder = here.parent().map(Path::to_path_buf);
            }
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        |path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| text.to_string())
    }

    #[test]
    fn version_1_in_a_container_of_docker() {
        let groups = "11:pids:/docker/abc\n5:memory:/docker/abc\n0::/\n";
        let mounts = "600 590 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n\
                      601 590 0:31 /docker/abc /sys/fs/cgroup/pids ro,nosuid master:3 - cgroup cgroup rw,pids\n";
        let files = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n")];
        assert_eq!(lowest(groups, mounts, reader(&files)), Some(64 << 20));
        let none = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")];
        assert_eq!(lowest(groups, mounts, reader(&none)), None);
    }

    #[test]
    fn version_2_takes_the_lowest_of_the_groups_above() {
        let groups = "0::/kubepods/pod1/container\n";
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let files = [
            ("/sys/fs/cgroup/kubepods/pod1/container/memory.max", "max\n"),
            ("/sys/fs/cgroup/kubepods/pod1/memory.max", "100663296\n"),
            ("/sys/fs/cgroup/kubepods/memory.max", "8589934592\n"),
        ];
        assert_eq!(lowest(groups, mounts, reader(&files)), Some(96 << 20));
        // A group of its own name space: it sees itself as the root.
        let files = [("/sys/fs/cgroup/memory.max", "100663296\n")];
        assert_eq!(lowest("0::/\n", mounts, reader(&files)), Some(96 << 20));
    }

    #[test]
    fn what_the_shipped_models_take_is_told_within_a_tenth() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        for (name, measured) in [("imdb", 61e6), ("keras-imdb", 20e6)] {
            let told = needed(&[ModelSource::directory(models.join(name))]) as f64;
            assert!((told / measured - 1.0).abs() < 0.1, "{name}: {told}");
        }
        assert_eq!(needed(&[ModelSource::directory("nowhere")]), PROCESS_BYTES);
    }

    #[test]
    fn a_model_is_loaded_beside_another_only_where_there_is_room() {
        let reason = room(60 << 20, 80 << 20, 128 << 20).unwrap_err();
        assert!(
            reason.contains("60 MiB") && reason.contains("80 MiB") && reason.contains("128 MiB"),
            "{reason}"
        );
        assert!(room(40 << 20, 80 << 20, 128 << 20).is_ok());
    }

    #[test]
    fn nothing_is_no_limit() {
        assert_eq!(lowest("", "", reader(&[])), None);
        assert_eq!(lowest("0::/a\nnonsense\n", "short - \n1 2 3\n", reader(&[])), None);
    }
}
