//! Rules that the default profile does not have, each held against its plain meaning.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
mod common;

use common::*;
use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::*;
use serde_json::json;
use wharf_seccomp::{Host, Profile, Program, SeccompError, Target, compile};

fn of(rules: serde_json::Value) -> Program {
    let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules });
    let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    compile(&profile, Target::X86_64).unwrap()
}

fn verdict(holds: bool) -> u32 {
    if holds { ALLOW } else { EPERM }
}

fn words() -> impl Strategy<Value = u64> {
    let edge = prop_oneof![
        Just(0u32),
        Just(1),
        Just(2),
        Just(u32::MAX - 1),
        Just(u32::MAX),
        any::<u32>()
    ];
    (edge.clone(), edge).prop_map(|(high, low)| u64::from(high) << 32 | u64::from(low))
}

proptest! {
    #[test]
    fn comparisons_mean_what_they_say(argument in words(), value in words(), mask in words(), index in 0usize..6) {
        let cases = [
            ("EQ", argument == value), ("NE", argument != value), ("LT", argument < value),
            ("LE", argument <= value), ("GT", argument > value), ("GE", argument >= value),
        ];
        let mut args = [0; 6];
        args[index] = argument;
        for (op, holds) in cases {
            let rule = json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": index, "value": value, "op": format!("SCMP_CMP_{op}") }] }]);
            prop_assert_eq!(run(&of(rule), X86_64, 16, args).0, verdict(holds), "{}", op);
        }
        let rule = json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
            { "index": index, "value": mask, "valueTwo": value & mask, "op": "SCMP_CMP_MASKED_EQ" }] }]);
        prop_assert_eq!(run(&of(rule), X86_64, 16, args).0, verdict(argument & mask == value & mask));
    }

    #[test]
    fn two_arguments_must_both_hold(first in 0u64..3, second in 0u64..3) {
        let rule = json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }, { "index": 1, "value": 1, "op": "SCMP_CMP_GE" }] }]);
        let got = run(&of(rule), X86_64, 16, [first, second, 0, 0, 0, 0]).0;
        prop_assert_eq!(got, verdict(first == 1 && second >= 1));
    }

    #[test]
    fn two_conditions_on_one_argument_are_alternatives(argument in 0u64..5) {
        let rule = json!([{ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
            { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }, { "index": 0, "value": 3, "op": "SCMP_CMP_EQ" }] }]);
        prop_assert_eq!(with(&of(rule), X86_64, 16, argument), verdict(argument == 1 || argument == 3));
    }
}

#[test]
fn every_action_has_its_value() {
    let actions = [
        ("KILL", 0),
        ("KILL_THREAD", 0),
        ("KILL_PROCESS", KILL_PROCESS),
        ("TRAP", 0x0003_0000),
        ("ERRNO", 0x0005_0063),
        ("TRACE", 0x7ff0_0063),
        ("LOG", 0x7ffc_0000),
        ("NOTIFY", 0x7fc0_0000),
        ("ALLOW", ALLOW),
    ];
    for (action, value) in actions {
        let action = format!("SCMP_ACT_{action}");
        let program = of(json!([{ "names": ["read"], "action": action, "errnoRet": 99 }]));
        assert_eq!(call(&program, X86_64, 0), value, "{action}");
    }
}

#[test]
fn a_profile_that_allows_by_default_has_no_enosys() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["keyctl"], "action": "SCMP_ACT_ERRNO" }] });
    let program = compile(&serde_json::from_value(profile).unwrap(), Target::X86_64).unwrap();
    assert_eq!(
        (
            call(&program, X86_64, 250),
            call(&program, X86_64, 251),
            call(&program, X86_64, 9999)
        ),
        (EPERM, ALLOW, ALLOW)
    );
    // Only the native interface is listed.
    assert_eq!(
        (call(&program, I386, 3), call(&program, X86_64, X32)),
        (KILL_PROCESS, KILL_PROCESS)
    );
}

#[test]
fn long_programs_reach_their_ends() {
    // 300 rules on one call are more than a conditional jump reaches.
    let mut rules: Vec<_> = (0..300)
        .map(|value| {
            json!({ "names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": 1, "value": value * 2, "op": "SCMP_CMP_EQ" }] })
        })
        .collect();
    rules.push(json!({ "names": ["read", "keyctl"], "action": "SCMP_ACT_ALLOW" }));
    let program = of(json!(rules));
    for value in 0..602 {
        let got = run(&program, X86_64, 16, [0, value, 0, 0, 0, 0]).0;
        assert_eq!(got, verdict(value < 600 && value % 2 == 0), "{value}");
    }
    assert_eq!(
        (
            call(&program, X86_64, 0),
            call(&program, X86_64, 250),
            call(&program, X86_64, 249)
        ),
        (ALLOW, ALLOW, EPERM)
    );
}

#[test]
fn bad_profiles_are_refused() {
    let host = Host {
        target: Target::X86_64,
        kernel: (6, 1),
    };
    let resolve = |text: &str| Profile::parse(text).and_then(|profile| profile.resolve(&[], &host));
    assert!(matches!(resolve("{"), Err(SeccompError::Parse(_))));
    let two = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
    assert!(matches!(resolve(two), Err(SeccompError::TwoArchitectures)));
    let names = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}"#;
    assert!(matches!(resolve(names), Err(SeccompError::TwoNames)));
    let index = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ERRNO",
        "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] }] });
    let compiled = compile(&serde_json::from_value(index).unwrap(), Target::X86_64);
    assert!(matches!(compiled, Err(SeccompError::Argument(6))));
}
