//! Says where the time of `true` in a container goes: `cargo run -p wharf-tasks --example latency`, as root, with
//! `WHARF_BIN_DIR` naming the folder of an optimised shim. Medians of 50 lives in milliseconds.

#![allow(clippy::unwrap_used, reason = "a measurement")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

fn main() {
    common::in_a_world(async |world| {
        let mut columns: [Vec<f64>; 4] = Default::default();
        for _ in 0..50 {
            let mut config = world.config(world.spec(&["true"]));
            config.log = wharf_tasks::LogConfig::None;
            let begin = Instant::now();
            let task = world.tasks.create("l", config).await.unwrap();
            let created = Instant::now();
            task.start().await.unwrap();
            let started = Instant::now();
            task.wait().await;
            let ended = Instant::now();
            task.delete().await.unwrap();
            let deleted = Instant::now();
            let steps = [begin, created, started, ended, deleted];
            for (column, pair) in columns.iter_mut().zip(steps.windows(2)) {
                column.push((pair[1] - pair[0]).as_secs_f64() * 1000.0);
            }
        }
        for (name, column) in ["create", "start", "exit", "delete"]
            .iter()
            .zip(&mut columns)
        {
            column.sort_by(f64::total_cmp);
            println!("{name:8} {:6.2}", column[column.len() / 2]);
        }
        // Two, as the program's own pages are shared by all shims.
        let mut tasks = Vec::new();
        for id in ["m", "n"] {
            let config = world.config(world.spec(&["sleep", "1000"]));
            let task = world.tasks.create(id, config).await.unwrap();
            task.start().await.unwrap();
            tasks.push(task);
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", tasks[0].pid())).unwrap();
        let shim = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .unwrap()
            .trim();
        let memory = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        let wanted = [
            "Private_Clean",
            "Private_Dirty",
            "Shared_Dirty",
            "Anonymous",
        ];
        for line in memory
            .lines()
            .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        {
            println!("{line}");
        }
        for task in tasks {
            task.delete().await.unwrap();
        }
    });
}
