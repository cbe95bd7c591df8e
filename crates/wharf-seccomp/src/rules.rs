//! An OCI profile as a program: what happens to each number, then the tree that finds it.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use crate::bpf::{Instruction, branch, end, jump_equal, jump_greater_equal, load};
use crate::condition::{Condition, LONGEST};
use crate::table::{Abi, Target};
use crate::{Program, SeccompError, action};

/// What happens to a call: the first rule whose conditions all hold, else `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    rules: Vec<(Vec<Condition>, u32)>,
    otherwise: u32,
    /// A rule without conditions has been met; later ones do not count.
    settled: bool,
}

impl Verdict {
    fn plain(action: u32) -> Self {
        Self {
            rules: Vec::new(),
            otherwise: action,
            settled: true,
        }
    }

    fn emit(&self) -> Vec<Instruction> {
        let mut code = Vec::new();
        for (conditions, action) in &self.rules {
            let mut tail = vec![end(*action)];
            for condition in conditions.iter().rev() {
                // At most six conditions, as two on one argument are two rules.
                debug_assert!(tail.len() <= 6 * LONGEST + 1);
                let mut head = condition.emit(tail.len() as u8);
                head.append(&mut tail);
                tail = head;
            }
            code.append(&mut tail);
        }
        code.push(end(self.otherwise));
        code
    }
}

/// Numbers from the first on, up to the next one's first.
type Ranges = Vec<(u32, Verdict)>;

/// Compiles an OCI profile for `target`.
///
/// Names that an interface does not have are passed over, as are architectures that the target's kernel does not run.
/// Calls of any other interface end the process.
///
/// # Errors
/// [`SeccompError::Argument`], [`SeccompError::TooLong`].
pub fn compile(profile: &LinuxSeccomp, target: Target) -> Result<Program, SeccompError> {
    let listed = profile.architectures().as_deref().unwrap_or_default();
    // libseccomp's filters always have the native one.
    let wanted = |abi: &Abi| abi.arch() == target.arch() || listed.contains(&abi.arch());
    let mut machines: BTreeMap<u32, Ranges> = BTreeMap::new();
    for abi in target.abis() {
        let ranges = machines.entry(abi.audit()).or_default();
        if wanted(abi) {
            ranges.extend(ranges_of(profile, *abi)?);
        } else {
            ranges.push((abi.base(), Verdict::plain(action::KILL_PROCESS)));
        }
    }
    let mut code = vec![end(action::KILL_PROCESS)];
    // The machine's own interface comes last here, thus first in the program.
    for (audit, mut ranges) in machines {
        ranges.dedup_by(|later, earlier| later.1 == earlier.1);
        let mut own = vec![load(0)];
        own.extend(tree(&ranges));
        code = branch(jump_equal, audit, own, code);
    }
    code.insert(0, load(4));
    Program::new(&code)
}

fn tree(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    match ranges {
        [] => vec![end(action::KILL_PROCESS)],
        [(_, verdict)] => verdict.emit(),
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            branch(jump_greater_equal, above[0].0, tree(above), tree(below))
        }
    }
}

fn ranges_of(profile: &LinuxSeccomp, abi: Abi) -> Result<Ranges, SeccompError> {
    let default = action::value(profile.default_action(), profile.default_errno_ret());
    let mut calls: BTreeMap<u32, Verdict> = BTreeMap::new();
    let mut newest = None;
    for rule in profile.syscalls().iter().flatten() {
        let action = action::value(rule.action(), rule.errno_ret());
        for name in rule.names() {
            let Some(number) = abi.number(name) else {
                continue;
            };
            if !abi.private(number) {
                newest = newest.max(Some(number));
            }
            // As in runc, where such a rule does not stand in the way of a later one.
            if action == default {
                continue;
            }
            let verdict = calls.entry(number).or_insert_with(|| Verdict {
                rules: Vec::new(),
                otherwise: default,
                settled: false,
            });
            add(verdict, name, rule, action, abi)?;
        }
    }
    // Calls newer than the profile: see runc's libcontainer/seccomp/patchbpf.
    let newest = newest.filter(|_| !action::lets_pass(profile.default_action()));
    let unknown = |number: u32| match newest {
        Some(newest) if number > newest => Verdict::plain(action::ENOSYS),
        _ => Verdict::plain(default),
    };
    let mut starts: BTreeMap<u32, Verdict> = BTreeMap::from([(abi.base(), unknown(abi.base()))]);
    for number in newest.into_iter().chain(calls.keys().copied()) {
        starts.insert(number + 1, unknown(number + 1));
    }
    for (number, mut verdict) in calls {
        verdict.settled = true;
        starts.insert(number, verdict);
    }
    Ok(starts.into_iter().collect())
}

fn add(
    verdict: &mut Verdict,
    name: &str,
    rule: &LinuxSyscall,
    action: u32,
    abi: Abi,
) -> Result<(), SeccompError> {
    let args = rule.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .map(|arg| Condition::new(name, arg, abi))
        .collect::<Result<Vec<_>, _>>()?;
    if verdict.settled {
        return Ok(());
    }
    let repeated = |arg: &usize| args.iter().filter(|other| other.index() == *arg).count() > 1;
    if args.is_empty() {
        verdict.settled = true;
        verdict.otherwise = action;
        // Those that say the same just before are in vain.
        while verdict.rules.last().is_some_and(|last| last.1 == action) {
            verdict.rules.pop();
        }
    } else if args.iter().any(|arg| repeated(&arg.index())) {
        // libseccomp takes one condition per argument; runc makes each of them a rule, which means "or".
        verdict.rules.extend(
            conditions
                .into_iter()
                .map(|condition| (vec![condition], action)),
        );
    } else {
        verdict.rules.push((conditions, action));
    }
    Ok(())
}
