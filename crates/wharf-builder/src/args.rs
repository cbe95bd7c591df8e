//! `ARG`s: what is declared, what was given, who sees what (moby `builder/dockerfile/buildargs.go`).

use std::collections::{BTreeMap, BTreeSet};

use wharf_oci::Platform;

/// Arguments that need no `ARG`, and that neither the history nor the cache sees.
const TRANSPARENT: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

type Values = BTreeMap<String, Option<String>>;

/// The arguments of a build.
#[derive(Clone, Debug, Default)]
pub struct Args {
    given: Values,
    /// What BuildKit defines by itself: of the platforms.
    platform: BTreeMap<String, String>,
    /// Declared before the first stage.
    global: Values,
    /// Declared in this stage.
    stage: Values,
    referenced: BTreeSet<String>,
}

impl Args {
    /// The given ones, and what is built for.
    pub fn new(given: Values, target: &Platform) -> Self {
        let mut platform = BTreeMap::new();
        for (prefix, one) in [("TARGET", target), ("BUILD", &Platform::host())] {
            let text = match one.variant.is_empty() {
                true => format!("{}/{}", one.os, one.architecture),
                false => format!("{}/{}/{}", one.os, one.architecture, one.variant),
            };
            let values = [
                ("PLATFORM", text),
                ("OS", one.os.clone()),
                ("ARCH", one.architecture.clone()),
                ("VARIANT", one.variant.clone()),
            ];
            for (name, value) in values {
                platform.insert(format!("{prefix}{name}"), value);
            }
        }
        Self {
            given,
            platform,
            ..Self::default()
        }
    }

    /// A stage begins: it sees nothing before it declares it.
    pub fn begin_stage(&mut self) {
        self.stage.clear();
    }

    /// Declares one before the first stage.
    pub fn declare_global(&mut self, name: &str, default: Option<String>) {
        self.referenced.insert(name.to_owned());
        self.global.insert(name.to_owned(), default);
    }

    /// Declares one in the stage.
    pub fn declare(&mut self, name: &str, default: Option<String>) {
        self.referenced.insert(name.to_owned());
        self.stage.insert(name.to_owned(), default);
    }

    /// Whether the stage has declared it, with a value or without.
    pub fn declares(&self, name: &str) -> bool {
        self.stage.contains_key(name)
    }

    /// What `FROM` sees.
    pub fn global(&self) -> BTreeMap<String, String> {
        let mut values = self.platform.clone();
        values.extend(self.values(&self.global));
        values
    }

    /// What the stage sees.
    pub fn visible(&self) -> BTreeMap<String, String> {
        self.values(&self.stage)
    }

    /// What `RUN` has in its environment beside `env`, which wins.
    pub fn beside(&self, env: &[String]) -> Vec<String> {
        let set: BTreeSet<&str> = env
            .iter()
            .filter_map(|pair| pair.split('=').next())
            .collect();
        let visible = self.visible().into_iter();
        visible
            .filter(|(name, _)| !set.contains(name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Whether history and cache see it.
    pub fn counts(&self, name: &str) -> bool {
        self.stage.contains_key(name) || !TRANSPARENT.contains(&name)
    }

    /// Those that were given and that nothing has asked for.
    pub fn unused(&self) -> Vec<&str> {
        let given = self.given.keys().map(String::as_str);
        given
            .filter(|name| !TRANSPARENT.contains(name) && !self.referenced.contains(*name))
            .collect()
    }

    fn values(&self, declared: &Values) -> BTreeMap<String, String> {
        let names = declared.keys().map(String::as_str);
        let names = names.chain(TRANSPARENT.iter().copied());
        let found = names.filter_map(|name| {
            let value = self.value(name, declared.get(name)?.as_ref());
            Some((name.to_owned(), value?))
        });
        let mut values: BTreeMap<String, String> = found.collect();
        for name in TRANSPARENT {
            if let Some(Some(value)) = self.given.get(*name) {
                values.insert((*name).to_owned(), value.clone());
            }
        }
        values
    }

    /// Given, else its default, else the global one's.
    fn value(&self, name: &str, default: Option<&String>) -> Option<String> {
        if let Some(Some(value)) = self.given.get(name) {
            return Some(value.clone());
        }
        let global = || self.global.get(name).and_then(Option::as_ref);
        default
            .or_else(global)
            .or_else(|| self.platform.get(name))
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_stage_sees_what_it_declares() {
        let given = [
            ("A".to_owned(), some("given")),
            ("HTTP_PROXY".to_owned(), some("p")),
            ("UNUSED".to_owned(), some("u")),
            ("BARE".to_owned(), None),
        ];
        let mut args = Args::new(given.into(), &Platform::new("linux", "arm64", "v8"));
        args.declare_global("A", some("global"));
        args.declare_global("B", some("global"));
        assert_eq!(args.global().get("A"), Some(&"given".to_owned()));
        assert_eq!(args.global().get("TARGETARCH"), Some(&"arm64".to_owned()));
        args.begin_stage();
        assert_eq!(args.visible().keys().collect::<Vec<_>>(), ["HTTP_PROXY"]);
        args.declare("A", some("default"));
        args.declare("B", None);
        args.declare("C", some("default"));
        args.declare("D", None);
        args.declare("BARE", some("default"));
        args.declare("TARGETPLATFORM", None);
        let env = ["C=env".to_owned()];
        assert_eq!(
            args.beside(&env),
            [
                "A=given",
                "B=global",
                "BARE=default",
                "HTTP_PROXY=p",
                "TARGETPLATFORM=linux/arm64"
            ]
        );
        assert!(args.counts("A") && !args.counts("HTTP_PROXY"));
        assert_eq!(args.unused(), ["UNUSED"]);
        args.begin_stage();
        assert!(!args.visible().contains_key("A"));
    }
}
