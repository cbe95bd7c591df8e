//! The `local` driver: its options, and the mount that they ask for (moby `volume/local`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use rustix::mount::MountPropagationFlags as Propagation;

use crate::{VolumeError, quota};

/// What the local driver is told of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalOptions {
    /// What is mounted; without it the volume is its folder.
    pub(crate) mount: Option<MountOptions>,
    /// How many bytes it may take.
    pub(crate) size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
}

/// A call of `mount(8)` in three words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountOptions {
    kind: String,
    device: String,
    options: String,
}

impl LocalOptions {
    /// Reads the options of the volume `name`: Docker's `type o device size`, and of ours `uid gid mode`, the owner
    /// and the mode of a new volume's folder.
    ///
    /// # Errors
    /// If one is unknown, misses another, or is nonsense.
    pub(crate) fn parse(
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, VolumeError> {
        let refuse = |reason: String| VolumeError::Option {
            name: name.to_owned(),
            reason,
        };
        let known = ["type", "o", "device", "size", "uid", "gid", "mode"];
        if let Some(option) = options.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(refuse(format!("invalid option: {option:?}")));
        }
        let get = |key: &str| options.get(key).map(String::as_str);
        if get("type") == Some("cifs") && get("device").is_some_and(has_port) {
            let text = "port not allowed in CIFS device URL, include 'port' in 'o='";
            return Err(refuse(text.to_owned()));
        }
        let bytes = get("size").map(wharf_go::ram_in_bytes).transpose();
        let bytes = bytes.map_err(refuse)?;
        let size = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let size = size.filter(|size| *size > 0);
        for (option, wanted) in [
            ("o", &["device", "type"][..]),
            ("type", &["device"]),
            ("device", &["type"]),
        ] {
            let missing = wanted.iter().find(|wanted| get(wanted).is_none());
            if let (Some(_), Some(missing)) = (get(option), missing) {
                return Err(refuse(format!("missing required option: {missing:?}")));
            }
        }
        let number = |key: &str, radix| {
            let parse = |text| {
                let number = u32::from_str_radix(text, radix).ok();
                number.ok_or_else(|| refuse(format!("invalid {key}: '{text}'")))
            };
            get(key).map(parse).transpose()
        };
        let mount = get("device").map(|device| MountOptions {
            kind: get("type").unwrap_or_default().to_owned(),
            device: device.to_owned(),
            options: get("o").unwrap_or_default().to_owned(),
        });
        let (uid, gid, mode) = (number("uid", 10)?, number("gid", 10)?, number("mode", 8)?);
        if mount.is_some() && (uid, gid, mode) != (None, None, None) {
            let text = "uid, gid and mode are for volumes without a device: give them in 'o='";
            return Err(refuse(text.to_owned()));
        }
        if mount.is_some() && size.is_some() {
            let text = "size is for volumes without a device: give it in 'o='";
            return Err(refuse(text.to_owned()));
        }
        if mode.is_some_and(|mode| mode > 0o7777) {
            return Err(refuse(format!(
                "invalid mode: '{}'",
                get("mode").unwrap_or_default()
            )));
        }
        Ok(Self {
            mount,
            size,
            uid,
            gid,
            mode,
        })
    }

    /// Whether the folder's owner or mode was chosen: then the image's does not replace it.
    pub(crate) fn owns(&self) -> bool {
        (self.uid, self.gid, self.mode) != (None, None, None)
    }

    /// Gives the fresh `folder` its size, owner and mode.
    pub(crate) fn prepare(&self, folder: &Path) -> Result<(), VolumeError> {
        let failed = VolumeError::folder("make", folder);
        if let Some(bytes) = self.size {
            quota::hold(folder, bytes).map_err(&failed)?;
        }
        if self.uid.is_some() || self.gid.is_some() {
            std::os::unix::fs::chown(folder, self.uid, self.gid).map_err(&failed)?;
        }
        if let Some(mode) = self.mode {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder, mode).map_err(&failed)?;
        }
        Ok(())
    }
}

/// Whether the server of `//server:port/share` has a port.
fn has_port(device: &str) -> bool {
    let authority = device.rsplit_once("//").map_or("", |(_, rest)| rest);
    let host = authority.split('/').next().unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Words of `o`, the flag each sets or clears (moby/sys `mount`).
const FLAGS: &[(&str, MountFlags, bool)] = &[
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("suid", MountFlags::NOSUID, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("dev", MountFlags::NODEV, false),
    ("nodev", MountFlags::NODEV, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("atime", MountFlags::NOATIME, false),
    ("noatime", MountFlags::NOATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("bind", MountFlags::BIND, true),
    ("rbind", MountFlags::BIND, true),
    ("defaults", MountFlags::empty(), true),
];

const PROPAGATIONS: &[(&str, Propagation)] = &[
    ("shared", Propagation::SHARED),
    ("slave", Propagation::DOWNSTREAM),
    ("private", Propagation::PRIVATE),
    ("unbindable", Propagation::UNBINDABLE),
];

/// `o`, read.
struct Words {
    flags: MountFlags,
    propagation: Option<Propagation>,
    /// What the file system understands.
    data: String,
}

impl Words {
    fn read(options: &str) -> Self {
        let mut words = Self {
            flags: MountFlags::empty(),
            propagation: None,
            data: String::new(),
        };
        for word in options.split(',').filter(|word| !word.is_empty()) {
            if let Some((_, flag, on)) = FLAGS.iter().find(|(known, ..)| *known == word) {
                words.flags.set(*flag, *on);
                if word == "rbind" {
                    words.flags |= MountFlags::from_bits_retain(REC);
                }
            } else if let Some(propagation) = propagation(word) {
                words.propagation = Some(propagation);
            } else {
                let comma = if words.data.is_empty() { "" } else { "," };
                // Writing to text does not fail.
                let _ = write!(words.data, "{comma}{word}");
            }
        }
        words
    }
}

/// `MS_REC` (`mount(2)`).
const REC: u32 = 0x4000;

fn propagation(word: &str) -> Option<Propagation> {
    let find = |word: &str| PROPAGATIONS.iter().find(|(known, _)| *known == word);
    let plain = find(word).map(|(_, propagation)| *propagation);
    plain.or_else(|| {
        let (_, propagation) = find(word.strip_prefix('r')?)?;
        Some(*propagation | Propagation::REC)
    })
}

impl MountOptions {
    /// Mounts over `folder`. Blocks as long as the file system's server takes.
    ///
    /// # Errors
    /// In moby's words, a password in them crossed out.
    pub(crate) fn mount(&self, folder: &Path) -> Result<(), String> {
        let options = self.resolved()?;
        let words = Words::read(&options);
        let failed = |flags: u32, data: &str, error: rustix::io::Errno| {
            let mut text = format!("mount {}:{}", self.device, folder.display());
            if flags != 0 {
                let _ = write!(text, ", flags: 0x{flags:x}");
            }
            if !data.is_empty() {
                let _ = write!(text, ", data: {}", without_password(data));
            }
            let reason = wharf_sys::words::of(&error.into());
            format!("failed to mount local volume: {text}: {reason}")
        };
        let data = std::ffi::CString::new(words.data.as_str())
            .map_err(|_| "failed to mount local volume: options with a zero byte".to_owned())?;
        rustix::mount::mount(
            &self.device,
            folder,
            &self.kind,
            words.flags,
            Some(data.as_c_str()),
        )
        .map_err(|error| failed(words.flags.bits(), &words.data, error))?;
        self.finish(&words, folder).map_err(|error| {
            let _ = unmount(folder);
            failed(words.flags.bits(), "", error)
        })
    }

    /// What the first call cannot do: a bind gets its flags by a second one, and so does any mount its propagation.
    fn finish(&self, words: &Words, folder: &Path) -> rustix::io::Result<()> {
        if let Some(propagation) = words.propagation {
            rustix::mount::mount_change(folder, propagation)?;
        }
        if words.flags.contains(MountFlags::BIND | MountFlags::RDONLY) {
            rustix::mount::mount_remount(folder, words.flags, "")?;
        }
        Ok(())
    }

    /// The options with a server's name made an address: the kernel resolves none.
    fn resolved(&self) -> Result<String, String> {
        if !matches!(self.kind.as_str(), "nfs" | "nfs4" | "cifs") {
            return Ok(self.options.clone());
        }
        let address = self
            .options
            .split(',')
            .find_map(|word| word.strip_prefix("addr="));
        match address {
            Some(name) if name.parse::<IpAddr>().is_err() => {
                let address = resolve(name)?;
                let (old, new) = (format!("addr={name}"), format!("addr={address}"));
                Ok(self.options.replacen(&old, &new, 1))
            }
            None if self.kind == "cifs" => {
                let host = self.device.trim_start_matches('/').split('/').next();
                match host.filter(|host| !host.is_empty() && host.parse::<IpAddr>().is_err()) {
                    Some(host) => Ok(format!("{},addr={}", self.options, resolve(host)?)),
                    None => Ok(self.options.clone()),
                }
            }
            _ => Ok(self.options.clone()),
        }
    }
}

/// An address of IPv4 if there is one, as Go's `net.ResolveIPAddr` has it.
fn resolve(name: &str) -> Result<IpAddr, String> {
    let failed = |reason: String| {
        format!("error resolving passed in network volume address: lookup {name}: {reason}")
    };
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|error| failed(error.to_string()))?;
    let address = found.map(|address| address.ip());
    let address = address.min_by_key(IpAddr::is_ipv6);
    address.ok_or_else(|| failed("no such host".to_owned()))
}

fn without_password(data: &str) -> String {
    let word = |word: &str| match word.starts_with("password=") {
        true => "password=********".to_owned(),
        false => word.to_owned(),
    };
    data.split(',').map(word).collect::<Vec<_>>().join(",")
}

/// Whether something is mounted at `folder`.
///
/// # Errors
/// The system's.
pub(crate) fn is_mounted(folder: &Path) -> std::io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Something that is mounted within `folder`, not at it; `proc_pid_mountinfo(5)`.
///
/// # Errors
/// The system's.
pub(crate) fn mount_below(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    let points = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(unescape(point))))
    });
    let mut below = points.filter(|point| point != folder && point.starts_with(folder));
    Ok(below.next())
}

/// Blanks and backslashes stand as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|three| std::str::from_utf8(three).ok());
        let byte = digits.and_then(|three| u8::from_str_radix(three, 8).ok());
        match (first, byte) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

/// Takes away all that is mounted at `folder`.
///
/// # Errors
/// The system's.
pub(crate) fn unmount(folder: &Path) -> std::io::Result<()> {
    while is_mounted(folder)? {
        rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<LocalOptions, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        LocalOptions::parse("v1", &pairs.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        for (pairs, expected) in [
            (&[("foo", "bar")][..], "create v1: invalid option: \"foo\""),
            (
                &[("type", "tmpfs")],
                "create v1: missing required option: \"device\"",
            ),
            (
                &[("device", "tmpfs")],
                "create v1: missing required option: \"type\"",
            ),
            (
                &[("o", "x")],
                "create v1: missing required option: \"device\"",
            ),
            (&[("size", "abc")], "create v1: invalid size: 'abc'"),
            (
                &[("size", "1m"), ("type", "tmpfs"), ("device", "tmpfs")],
                "create v1: size is for volumes without a device: give it in 'o='",
            ),
            (&[("mode", "9")], "create v1: invalid mode: '9'"),
            (&[("mode", "17777")], "create v1: invalid mode: '17777'"),
            (
                &[("type", "cifs"), ("device", "//1.2.3.4:99/x")],
                "create v1: port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
        ] {
            assert_eq!(parse(pairs), Err(expected.to_owned()), "{pairs:?}");
        }
        assert!(parse(&[("size", "0")]).is_ok());
    }

    #[test]
    fn mount_points_are_read_as_they_are() {
        assert_eq!(unescape(br"/a\040b\134c\"), br"/a b\c\".as_slice());
        assert!(mount_below(Path::new("/")).unwrap().is_some());
        assert_eq!(mount_below(Path::new("/proc/none")).unwrap(), None);
    }

    #[test]
    fn words_are_sorted() {
        let words = Words::read("bind,ro,rslave,rw,addr=1,nolock,rbind");
        assert_eq!(words.flags.bits(), MountFlags::BIND.bits() | REC);
        assert_eq!(
            words.propagation,
            Some(Propagation::DOWNSTREAM | Propagation::REC)
        );
        assert_eq!(words.data, "addr=1,nolock");
        assert_eq!(without_password("a=b,password=x"), "a=b,password=********");
    }
}
