//! A stage of a build while it is being built.

use wharf_images::Image;
use wharf_oci::{Digest, Platform, RunConfig};

/// Docker's `PATH` of images that have none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The image of the last step; none at the begin of `FROM scratch`.
    pub(crate) image: Option<Digest>,
    pub(crate) platform: Platform,
    pub(crate) config: RunConfig,
    /// What `MAINTAINER` says.
    pub(crate) author: String,
    /// Whether it has had a `CMD`.
    pub(crate) command_set: bool,
    /// Whether a step was not in the cache: none after it can be.
    pub(crate) busted: bool,
    /// Instructions that the base image left for those who build on it.
    pub(crate) triggers: Vec<String>,
}

impl Stage {
    /// Begins from an image, or from nothing.
    pub(crate) fn begin(base: Option<&Image>, platform: Platform) -> Self {
        let mut config = base.map_or_else(RunConfig::default, |image| image.config.config.clone());
        let triggers = config.on_build.take().unwrap_or_default();
        let env = config.env.get_or_insert_default();
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(DEFAULT_PATH.to_owned());
        }
        Self {
            image: base.map(|image| image.id),
            platform: base.map_or(platform, |image| image.config.platform()),
            config,
            author: String::new(),
            command_set: false,
            busted: false,
            triggers,
        }
    }

    /// A directory or file named relative to the working directory; a slash at the end stays.
    pub(crate) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let joined = format!("{}/{path}", self.config.working_dir);
        let mut clean = String::new();
        for name in joined.split('/').filter(|name| !matches!(*name, "" | ".")) {
            match name {
                ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
                name => clean.push_str(&format!("/{name}")),
            }
        }
        if clean.is_empty() || path.ends_with('/') {
            clean.push('/');
        }
        clean
    }

    /// The shell and its flags.
    pub(crate) fn shell(&self) -> Vec<String> {
        let shell = self.config.shell.clone().filter(|shell| !shell.is_empty());
        shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
    }

    /// What the history says of a step that runs nothing.
    pub(crate) fn nop(&self, text: &str) -> String {
        format!("{} #(nop) {text}", self.shell().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_working_directory() {
        let mut stage = Stage::begin(None, Platform::host());
        assert_eq!(stage.absolute("."), "/");
        assert_eq!(stage.absolute("a/"), "/a/");
        stage.config.working_dir = "/w/x".to_owned();
        assert_eq!(stage.absolute("."), "/w/x");
        assert_eq!(stage.absolute("../y"), "/w/y");
        assert_eq!(stage.absolute("/z"), "/z");
        assert_eq!(stage.nop("ENV a=b"), "/bin/sh -c #(nop) ENV a=b");
    }
}
