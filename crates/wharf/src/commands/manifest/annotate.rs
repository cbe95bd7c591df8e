//! `wharf manifest annotate`.

use wharf_oci::Platform;

use super::named;
use super::store::Store;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, list, text};

static FLAGS: &[Flag] = &[
    text("arch", "Architecture of the image"),
    text("os", "Operating system of the image"),
    list(
        "os-features",
        "Features of the operating system that it needs",
    ),
    text("os-version", "Version of the operating system"),
    text("variant", "Variant of the architecture"),
];

/// Say more of a member of a local list
pub(super) static COMMAND: Command = Command {
    name: "annotate",
    about: "Add additional information to a local image manifest",
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// What Docker takes; as of 28.2.
const KNOWN: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &[
            "386", "amd64", "arm", "arm64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x",
        ],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64"]),
];

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (list, member) = (&matches.args[0], &matches.args[1]);
    let list = named(
        list,
        &format!("annotate: error parsing name for manifest list {list}: "),
    )?;
    let member = named(
        member,
        &format!("annotate: error parsing name for manifest {member}: "),
    )?;
    let store = Store::of(context);
    let mut entry = store.get(&list, &member)?.ok_or_else(|| {
        Exit::new(format!(
            "manifest for image {member} does not exist in {list}"
        ))
    })?;
    if let Some(platform) = &mut entry.descriptor.platform {
        annotate(platform, matches)?;
    }
    store.save(&list, &member, &entry)
}

fn annotate(platform: &mut Platform, matches: &Matches) -> Outcome {
    let set = |field: &mut String, flag: &str| {
        if let Some(value) = matches.maybe(flag).filter(|value| !value.is_empty()) {
            value.clone_into(field);
        }
    };
    set(&mut platform.os, "os");
    set(&mut platform.architecture, "arch");
    set(&mut platform.variant, "variant");
    set(&mut platform.os_version, "os-version");
    let features = matches.list("os-features").iter();
    for feature in features.flat_map(|text| text.split(',')) {
        if !platform.os_features.iter().any(|known| known == feature) {
            platform.os_features.push(feature.to_owned());
        }
    }
    let (os, architecture) = (platform.os.as_str(), platform.architecture.as_str());
    let known = KNOWN.iter().find(|(known, _)| *known == os);
    match known.is_some_and(|(_, all)| all.contains(&architecture)) {
        true => Ok(()),
        // Docker names what was asked for, be it nothing.
        false => Err(Exit::new(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            matches.text("os"),
            matches.text("arch")
        ))),
    }
}
