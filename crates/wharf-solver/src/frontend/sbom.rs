//! Bills of materials: a scanner, an image of its own, looks at what was built (`attest:sbom`,
//! `docs/attestations/sbom-protocol.md`).

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use wharf_oci::{ImageConfig, Platform, Reference};

use super::llb::{About, Builder};
use super::options::Options;
use crate::{Attestation, AttestationKind, Job, SolveError, solve};

/// BuildKit's own scanner.
const DEFAULT: &str = "docker/buildkit-syft-scanner:stable-1";
/// What its statements are: lists of packages by SPDX.
const SPDX: &str = "https://spdx.dev/Document";
const SOURCE: &str = "/run/src/core/sbom";
const DESTINATION: &str = "/run/out/";

/// A scanner that is asked for.
pub(super) struct Scanner {
    /// Its image, as the request names it.
    name: String,
    source: pb::SourceOp,
    meta: pb::Meta,
}

impl Scanner {
    /// The scanner that a request asks for, if it asks for one.
    ///
    /// # Errors
    /// If there is no such image, or it does not say what to run.
    pub(super) async fn read(
        job: &Job,
        options: &Options,
        attrs: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, SolveError> {
        let Some(text) = attrs.get("attest:sbom") else {
            return Ok(None);
        };
        let fields = text.split(',').filter_map(|field| field.split_once('='));
        let mut fields: BTreeMap<&str, &str> = fields.collect();
        if matches!(fields.remove("disabled"), Some("1" | "true")) {
            return Ok(None);
        }
        for name in ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"] {
            if options
                .args
                .get(name)
                .is_some_and(|value| value.as_deref() != Some("false"))
            {
                return Err(SolveError::NotImplemented(format!(
                    "{name} is not built: the result alone is scanned"
                )));
            }
        }
        let name = fields.remove("generator").unwrap_or(DEFAULT);
        let reference = Reference::parse_normalized(name).map_err(|error| {
            SolveError::Invalid(format!("failed to parse sbom scanner {name:?}: {error}"))
        })?;
        let reference = reference.with_default_tag().to_string();
        let found = job
            .resolve_image(
                &reference,
                Some(&Platform::host()),
                &options.resolve_mode,
                &format!("[internal] load metadata for {reference}"),
            )
            .await?;
        let image = ImageConfig::parse(found.config)
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        let meta = meta(&image, name, &fields)?;
        Ok(Some(Self {
            name: name.to_owned(),
            source: pb::SourceOp {
                identifier: format!("docker-image://{}", found.reference),
                ..pb::SourceOp::default()
            },
            meta,
        }))
    }

    /// Scans the result of a definition.
    ///
    /// # Errors
    /// If the scanner fails.
    pub(super) async fn scan(
        &self,
        job: &Job,
        definition: &pb::Definition,
        shown: &str,
    ) -> Result<Attestation, SolveError> {
        let host = Platform::host();
        let mut builder = Builder::new("", "");
        let scanned = builder.import(definition)?;
        let about = |name: String| About {
            name,
            ..About::default()
        };
        let source = pb::op::Op::Source(self.source.clone());
        let title = format!("[{shown}] FROM {}", self.name);
        let scanner = builder.add(source, &[], Some(&host), about(title));
        let exec = pb::op::Op::Exec(pb::ExecOp {
            meta: Some(self.meta.clone()),
            mounts: mounts(scanned.is_some()),
            ..pb::ExecOp::default()
        });
        let inputs: Vec<_> = [scanner].into_iter().chain(scanned).collect();
        let title = format!("[{shown}] generating sbom using {}", self.name);
        let output = builder.add(exec, &inputs, Some(&host), about(title));
        let definition = builder.definition(Some(&output));
        Ok(Attestation {
            tree: solve::solve(job, &definition).await?,
            definition,
            kind: AttestationKind::Bundle,
            path: String::new(),
            predicate_type: SPDX.to_owned(),
        })
    }
}

/// What the scanner's image runs, told where to look. `fields` are the request's, for the scanner.
fn meta(
    image: &ImageConfig,
    name: &str,
    fields: &BTreeMap<&str, &str>,
) -> Result<pb::Meta, SolveError> {
    let config = &image.config;
    let words = config.entrypoint.iter().chain(&config.cmd).flatten();
    let args: Vec<String> = words.cloned().collect();
    if args.is_empty() {
        return Err(SolveError::Invalid(format!(
            "scanner {name} does not have cmd"
        )));
    }
    let mut env = config.env.clone().unwrap_or_default();
    env.push(format!("BUILDKIT_SCAN_DESTINATION={DESTINATION}"));
    env.push(format!("BUILDKIT_SCAN_SOURCE={SOURCE}"));
    let own = fields.iter();
    env.extend(own.map(|(key, value)| format!("BUILDKIT_SCAN_{key}={value}")));
    Ok(pb::Meta {
        args,
        env,
        cwd: match config.working_dir.as_str() {
            "" => "/".to_owned(),
            own => own.to_owned(),
        },
        ..pb::Meta::default()
    })
}

/// The scanner's own files, what is scanned, and where the scanner writes, which is the output.
fn mounts(has_source: bool) -> Vec<pb::Mount> {
    let mount = |dest: &str, input: i64, output: i64| pb::Mount {
        dest: dest.to_owned(),
        input,
        output,
        ..pb::Mount::default()
    };
    vec![
        mount("/", 0, -1),
        pb::Mount {
            mount_type: pb::MountType::Tmpfs.into(),
            ..mount("/tmp", -1, -1)
        },
        pb::Mount {
            readonly: true,
            ..mount(SOURCE, if has_source { 1 } else { -1 }, -1)
        },
        mount(DESTINATION, -1, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_is_told_what_it_needs() {
        let text = r#"{"config":{"Entrypoint":["/scan"],"Cmd":["-v"],"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let image = ImageConfig::parse(text.as_bytes().to_vec()).unwrap();
        let meta = meta(&image, "s", &[("mode", "fast")].into()).unwrap();
        assert_eq!(
            (meta.args.join(" ").as_str(), meta.cwd.as_str()),
            ("/scan -v", "/")
        );
        let wanted = [
            "A=b",
            "BUILDKIT_SCAN_DESTINATION=/run/out/",
            "BUILDKIT_SCAN_SOURCE=/run/src/core/sbom",
            "BUILDKIT_SCAN_mode=fast",
        ];
        assert_eq!(meta.env, wanted);
        let outputs: Vec<i64> = mounts(true).iter().map(|mount| mount.output).collect();
        assert_eq!(outputs, [-1, -1, -1, 0]);
    }
}
