//! A task from its beginning to its end.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{OUTPUT, in_a_world, read_all};
use tokio::io::AsyncWriteExt as _;
use wharf_tasks::{AttachOptions, ExecConfig, Found, TaskError};

#[test]
fn runs_a_program_and_keeps_its_output_and_code() {
    in_a_world(async |world| {
        let (status, output) = world
            .run(&["sh", "-c", "echo out; echo err >&2; exit 3"])
            .await;
        assert_eq!(status.code, 3);
        assert!(
            output.contains("out\n") && output.contains("err\n"),
            "{output}"
        );
        let logged = world.logged();
        assert!(
            logged.contains("out\n") && logged.contains("err\n"),
            "{logged}"
        );
        let (status, _) = world
            .run(&[
                "sh",
                "-c",
                "kill -9 $$; kill -TERM 1; sleep 100 & kill -9 $!; exit 5",
            ])
            .await;
        // The first process of a pid namespace is deaf to signals that it does not handle.
        assert_eq!(status.code, 5);
    });
}
