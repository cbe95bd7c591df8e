//! Docker's profiles (moby `profiles/seccomp`), and what is left of one for a container.

use std::path::PathBuf;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;

use crate::{SeccompError, Target};

/// What a profile's rules depend on besides the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The kind of machine.
    pub target: Target,
    /// The kernel's version: the first two numbers.
    pub kernel: (u32, u32),
}

impl Host {
    /// This machine.
    ///
    /// # Errors
    /// [`SeccompError::Machine`] if there is no table for it.
    pub fn current() -> Result<Self, SeccompError> {
        let uname = rustix::system::uname();
        let kernel = version(&uname.release().to_string_lossy()).unwrap_or((0, 0));
        Ok(Self {
            target: Target::native()?,
            kernel,
        })
    }
}

/// The first two numbers of `6.1.0-13-amd64`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// A profile as Docker writes it; also takes an OCI `linux.seccomp`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<Machine>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    listener_path: Option<PathBuf>,
    #[serde(default)]
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`SeccompError::Parse`].
    pub fn parse(text: &str) -> Result<Self, SeccompError> {
        serde_json::from_str(text).map_err(SeccompError::Parse)
    }

    /// Docker's default profile, but for one call: `socketcall`, by which 32-bit programs of x86 make sockets, has its
    /// address family behind a pointer, where no filter reads. So it makes none (`ENOSYS`, as in Docker 29.4.2; C
    /// libraries for Linux 4.3 or later use `socket`), or AF_ALG and AF_VSOCK would be open to them. See
    /// [`Profile::with_socketcall`].
    ///
    /// # Errors
    /// None; the profile is a part of this crate and a test reads it.
    pub fn docker_default() -> Result<Self, SeccompError> {
        Self::parse(include_str!("../profiles/default.json"))
    }

    /// With all of `socketcall`: for containers whose address families a security module holds.
    #[must_use]
    pub fn with_socketcall(mut self) -> Self {
        let is_it = |rule: &Rule| {
            rule.names
                .as_deref()
                .is_some_and(|names| names == ["socketcall"])
        };
        for rule in self
            .syscalls
            .iter_mut()
            .flatten()
            .filter(|rule| is_it(rule))
        {
            rule.action = LinuxSeccompAction::ScmpActAllow;
            rule.errno_ret = None;
        }
        self
    }

    /// Whether its rules alone do not make the filter: it has flags, or somebody who is told of calls.
    pub fn has_more_than_rules(&self) -> bool {
        self.flags.is_some() || self.listener_path.is_some()
    }

    /// The rules that concern a container with `capabilities` (its bounding set, as `CAP_CHOWN`) on `host`.
    ///
    /// # Errors
    /// [`SeccompError::TwoArchitectures`], [`SeccompError::TwoNames`], [`SeccompError::Kernel`].
    pub fn resolve(
        &self,
        capabilities: &[&str],
        host: &Host,
    ) -> Result<LinuxSeccomp, SeccompError> {
        let Self {
            default_action,
            default_errno_ret,
            architectures: _,
            arch_map: _,
            flags,
            listener_path,
            listener_metadata,
            syscalls,
        } = self;
        let mut rules = Vec::new();
        for rule in syscalls.iter().flatten() {
            if rule.applies(capabilities, host)? {
                rules.push(rule.resolve()?);
            }
        }
        let mut resolved = LinuxSeccomp::default();
        resolved
            .set_default_action(*default_action)
            .set_default_errno_ret(*default_errno_ret)
            .set_architectures(Some(self.architectures(host)?))
            .set_flags(flags.clone())
            .set_listener_path(listener_path.clone())
            .set_listener_metadata(listener_metadata.clone())
            .set_syscalls(Some(rules));
        Ok(resolved)
    }

    fn architectures(&self, host: &Host) -> Result<Vec<Arch>, SeccompError> {
        let own = self.architectures.as_deref().unwrap_or_default();
        let map = self.arch_map.as_deref().unwrap_or_default();
        if !own.is_empty() && !map.is_empty() {
            return Err(SeccompError::TwoArchitectures);
        }
        let mut architectures = own.to_vec();
        if let Some(machine) = map
            .iter()
            .find(|machine| machine.architecture == host.target.arch())
        {
            architectures.push(machine.architecture);
            architectures.extend(machine.sub_architectures.iter().flatten());
        }
        Ok(architectures)
    }
}

impl Rule {
    /// All `includes` must hold; any of the `excludes` is enough.
    fn applies(&self, capabilities: &[&str], host: &Host) -> Result<bool, SeccompError> {
        let has = |cap: &String| capabilities.contains(&cap.as_str());
        if let Some(Filter {
            caps,
            arches,
            min_kernel,
        }) = &self.excludes
            && (arches
                .iter()
                .flatten()
                .any(|arch| arch == host.target.word())
                || caps.iter().flatten().any(has)
                || reached(min_kernel.as_deref(), host)?.unwrap_or(false))
        {
            return Ok(false);
        }
        let Some(Filter {
            caps,
            arches,
            min_kernel,
        }) = &self.includes
        else {
            return Ok(true);
        };
        let arches = arches.as_deref().unwrap_or_default();
        Ok(
            (arches.is_empty() || arches.iter().any(|arch| arch == host.target.word()))
                && caps.iter().flatten().all(has)
                && reached(min_kernel.as_deref(), host)?.unwrap_or(true),
        )
    }

    fn resolve(&self) -> Result<LinuxSyscall, SeccompError> {
        let names = match (
            self.name.as_str(),
            self.names.as_deref().unwrap_or_default(),
        ) {
            ("", names) => names.to_vec(),
            (name, []) => vec![name.to_owned()],
            _ => return Err(SeccompError::TwoNames),
        };
        let mut call = LinuxSyscall::default();
        call.set_names(names)
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.clone().filter(|args| !args.is_empty()));
        Ok(call)
    }
}

/// Whether the kernel is `least` or newer; nothing if nothing is asked.
fn reached(least: Option<&str>, host: &Host) -> Result<Option<bool>, SeccompError> {
    let Some(least) = least.filter(|least| !least.is_empty()) else {
        return Ok(None);
    };
    let wanted = version(least).ok_or_else(|| SeccompError::Kernel(least.to_owned()))?;
    Ok(Some(host.kernel >= wanted))
}
