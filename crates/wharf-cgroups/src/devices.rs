//! Device rules: v1's list files, v2's eBPF filter.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use wharf_sys::bpf::{self, Instruction};

use crate::group::{open_to_write, write_to};
use crate::{Cgroup, CgroupError, Layout};

pub(crate) fn apply(group: &Cgroup, rules: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    match group.layout() {
        Layout::V1 { .. } => apply_v1(group, rules),
        Layout::V2 { .. } => {
            let Some(folder) = group.birthplace() else {
                return Ok(());
            };
            bpf::replace_device_filter(folder, &filter(rules)).map_err(CgroupError::DeviceFilter)
        }
    }
}

fn apply_v1(group: &Cgroup, rules: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    let folder = group
        .controller("devices")
        .ok_or(CgroupError::NoController("devices"))?;
    // The kernel takes one rule for each write.
    for run in rules.chunk_by(|one, next| one.allow() == next.allow()) {
        let is_allowed = run.first().is_some_and(LinuxDeviceCgroup::allow);
        let file = folder.join(if is_allowed {
            "devices.allow"
        } else {
            "devices.deny"
        });
        let open = open_to_write(&file).map_err(CgroupError::file("open", &file))?;
        for rule in run {
            let line = line_v1(rule);
            let failed = CgroupError::file(format!("failed to write \"{line}\": write"), &file);
            write_to(&open, &line).map_err(failed)?;
        }
    }
    Ok(())
}

fn line_v1(rule: &LinuxDeviceCgroup) -> String {
    let number = |number: Option<i64>| match number {
        Some(number) if number >= 0 => number.to_string(),
        _ => "*".to_owned(),
    };
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => "b",
        LinuxDeviceType::C | LinuxDeviceType::U => "c",
        _ => return "a".to_owned(),
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    format!(
        "{kind} {}:{} {access}",
        number(rule.major()),
        number(rule.minor())
    )
}

/// The program that decides about a `bpf_cgroup_dev_ctx`. About each letter of the access that is asked for the last rule decides
/// that fits the device and has it, and all have to be allowed; what no rule has is denied. So what is denied is not to be had by
/// asking for more at once, and what two rules allow is allowed together, as on v1, whose kernel keeps one entry for each device.
fn filter(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    // r2 = type, r3 = access, r4 = major, r5 = minor (linux/bpf.h, struct bpf_cgroup_dev_ctx). What of the access is decided
    // leaves r3, which is never empty before the end.
    let mut program = vec![
        Instruction::load_word(2, 1, 0),
        Instruction::and(2, 0xffff),
        Instruction::load_word(3, 1, 0),
        Instruction::shift_right(3, 16),
        Instruction::load_word(4, 1, 4),
        Instruction::load_word(5, 1, 8),
    ];
    for rule in rules.iter().rev() {
        let (body, always) = decide(rule);
        program.extend(body);
        if always {
            // The kernel refuses a program with instructions that nothing leads to.
            return program;
        }
    }
    program.extend(verdict(false));
    program
}

fn verdict(allow: bool) -> [Instruction; 2] {
    [Instruction::set(0, i32::from(allow)), Instruction::exit()]
}

/// The instructions of one rule, and whether it decides about every device.
fn decide(rule: &LinuxDeviceCgroup) -> (Vec<Instruction>, bool) {
    let tests = tests(rule);
    let decision = decision(mask(rule), rule.allow());
    let always = tests.is_empty() && decision.len() == verdict(true).len();
    let count = tests.len() + decision.len();
    let tests = tests
        .into_iter()
        .enumerate()
        .map(|(index, (register, value))| {
            let over = (count - index - 1) as i16;
            Instruction::jump_unless_equal(register, value, over)
        });
    (tests.chain(decision).collect(), always)
}

/// Register and value of what makes the device one of the rule's.
fn tests(rule: &LinuxDeviceCgroup) -> Vec<(u8, i32)> {
    let (block, character) = (1, 2);
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => Some((2, block)),
        LinuxDeviceType::C | LinuxDeviceType::U => Some((2, character)),
        _ => None,
    };
    let number = |register, number: Option<i64>| {
        let number = number.filter(|number| *number >= 0)?;
        Some((register, number as i32))
    };
    [kind, number(4, rule.major()), number(5, rule.minor())]
        .into_iter()
        .flatten()
        .collect()
}

fn mask(rule: &LinuxDeviceCgroup) -> i32 {
    let bit = |letter: char| match letter {
        'm' => 1,
        'r' => 2,
        'w' => 4,
        _ => 0,
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    access.chars().map(bit).fold(0, |all, one| all | one)
}

/// What a rule with these letters says of a device that is its own.
fn decision(mask: i32, allow: bool) -> Vec<Instruction> {
    let all = 7;
    let mut decision = Vec::new();
    match (mask, allow) {
        (0, _) => return decision,
        (mask, _) if mask == all => {}
        // What the rule allows needs no other; is that all?
        (mask, true) => decision.extend([
            Instruction::and(3, !mask & all),
            Instruction::jump_unless_equal(3, 0, 2),
        ]),
        // r1 = what is asked for of what is denied. The context in it has been read by now.
        (mask, false) => decision.extend([
            Instruction::copy(1, 3),
            Instruction::and(1, mask),
            Instruction::jump_if_equal(1, 0, 2),
        ]),
    }
    decision.extend(verdict(allow));
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).expect("rules")
    }

    /// What the kernel's interpreter would answer.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
        bpf::interpret(program, &[kind | access << 16, major, minor])
    }

    #[test]
    fn the_last_rule_that_fits_wins() {
        let program = filter(&rules(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                {"allow":true,"type":"c","access":"m"},
                {"allow":false,"type":"c","major":1,"minor":8,"access":"w"}]"#,
        ));
        let (mknod, read, write) = (1, 2, 4);
        assert_eq!(run(&program, 2, read | write, 1, 3), 1, "/dev/null");
        assert_eq!(
            run(&program, 2, mknod, 5, 9),
            1,
            "any character device may be made"
        );
        assert_eq!(run(&program, 2, mknod | read, 5, 9), 0, "but not read");
        assert_eq!(run(&program, 1, read, 8, 0), 0, "no block device");
        assert_eq!(run(&program, 2, write, 1, 8), 0);
        let all = filter(&rules(
            r#"[{"allow":false},{"allow":true},{"allow":false,"type":"b"}]"#,
        ));
        let exits = all
            .iter()
            .filter(|one| **one == Instruction::exit())
            .count();
        assert_eq!(
            exits, 2,
            "nothing stands behind the rule that always decides"
        );
        assert_eq!(
            (run(&all, 2, write, 9, 9), run(&all, 1, read, 8, 0)),
            (1, 0)
        );
    }

    #[test]
    fn each_letter_is_decided_by_the_last_rule_that_has_it() {
        let (mknod, read, write) = (1, 2, 4);
        let denied = filter(&rules(
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#,
        ));
        assert_eq!(run(&denied, 2, write, 1, 3), 0);
        assert_eq!(run(&denied, 2, read | write, 1, 3), 0, "by asking for more");
        assert_eq!(run(&denied, 2, read | mknod, 1, 3), 1);
        let added = filter(&rules(
            r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"r"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"w"},
                {"allow":true,"type":"c","major":9,"access":""}]"#,
        ));
        assert_eq!(run(&added, 2, read | write, 1, 3), 1, "two rules add up");
        assert_eq!(run(&added, 2, read | write | mknod, 1, 3), 0);
        assert_eq!(
            run(&added, 2, read, 9, 1),
            0,
            "a rule without letters says nothing"
        );
        let open = filter(&rules(
            r#"[{"allow":true},{"allow":false,"type":"b","access":"w"}]"#,
        ));
        assert_eq!(run(&open, 1, read | write, 8, 0), 0);
        assert_eq!(
            (run(&open, 1, read, 8, 0), run(&open, 2, write, 8, 0)),
            (1, 1)
        );
    }

    #[test]
    fn lines_of_v1() {
        let rules = rules(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"}]"#,
        );
        assert_eq!(
            rules.iter().map(line_v1).collect::<Vec<_>>(),
            ["a", "b 8:* r"]
        );
    }
}
