//! Ctrl-C: every command stops at once, says so by its exit code and leaves nothing of its own behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::reviews::{archive, text, trainer};
use crate::common::write_model;

/// Looks until there is something to be seen.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
}

/// Whether the first thread waits for something.
fn is_asleep(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().starts_with('S')
}

/// What a process that has ended said.
fn said(child: &mut Child) -> String {
    let mut message = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
    message
}

/// Paths of all that lies under `folder`.
fn names(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(names(&path));
        }
        all.insert(path.to_string_lossy().into_owned());
    }
    all
}

#[test]
fn the_first_ctrl_c_ends_what_keeps_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    write_model(&model, 1, 4);
    let output = folder.path().join("out.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(["predict", "--format", "jsonl", "--model"]).arg(&model).arg("--output").arg(&output);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It waits for rows that never come.
    let mut rows = child.stdin.take().unwrap();
    rows.write_all(b"{\"text\": \"a good film\"}\n").unwrap();
    let beside = folder.path().join(format!(".out.jsonl.{}.partial", child.id()));
    wait("nothing is written", || beside.exists().then_some(()));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!beside.exists() && !output.exists());
}

/// Each waits for the rest of data that never comes, its output claimed and locked.
#[test]
fn ctrl_c_ends_every_command_at_once_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    write_model(&folder.path().join("model"), 1, 4);
    let data = archive(folder.path(), 3);
    let done =
        trainer(&["vectors", "--data", data.to_str().unwrap(), "--output", &at("vectors"), "--dim", "8"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    for name in ["data.csv", "data.jsonl", "data.tar.gz"] {
        rustix::fs::mknodat(CWD, at(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    let before = names(folder.path());
    for (typed, data) in [
        ("train --output out --data data.csv", "data.csv"),
        ("train --output out --init model --data data.csv", "data.csv"),
        ("train --output model --force --data data.tar.gz", "data.tar.gz"),
        ("vectors --output out --data data.tar.gz", "data.tar.gz"),
        ("language --vectors vectors --output out --data data.tar.gz", "data.tar.gz"),
        ("calibrate --model model --output out --data data.csv", "data.csv"),
        ("quantize --model model --output out --data data.tar.gz", "data.tar.gz"),
        ("complete model --data data.csv", "data.csv"),
        ("texts --output out --data data.tar.gz", "data.tar.gz"),
        ("evaluate --model model --data data.csv", "data.csv"),
        ("report --model model --output out.html --data data.csv", "data.csv"),
        ("predict --model model --output out.csv --input data.csv", "data.csv"),
        ("pairs model --pairs data.jsonl", "data.jsonl"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.args(typed.split(' ')).current_dir(folder.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut asleep = 0;
        let _open = wait(typed, || {
            assert!(child.try_wait().unwrap().is_none(), "{typed}: {}", said(&mut child));
            // An archive of no size would be refused: its reader goes on waiting for somebody to open the other end.
            if data.ends_with(".gz") {
                asleep = if is_asleep(&child) { asleep + 1 } else { 0 };
                return (asleep > 10).then_some(None);
            }
            // Opens once the other side reads.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK;
            Some(Some(File::from(rustix::fs::open(at(data), flags, Mode::empty()).ok()?)))
        });
        interrupt(&child);
        let code = wait(typed, || child.try_wait().unwrap()).code();
        assert_eq!(code, Some(130), "{typed}: {}", said(&mut child));
        assert_eq!(names(folder.path()), before, "{typed}");
    }
}
