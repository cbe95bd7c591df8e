//! What drivers say of a container beside its lines: tag, labels, variables.

use std::collections::BTreeMap;

use gotmpl::{Template, Value};
use regex::Regex;

use super::options::Options;
use crate::record::Record;

/// What is known of the container.
pub(super) struct Info<'a> {
    record: &'a Record,
    options: Options<'a>,
}

impl<'a> Info<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        Self {
            record,
            options: Options(&record.host.log.options),
        }
    }

    pub(super) fn id(&self) -> &'a str {
        &self.record.id
    }

    pub(super) fn short_id(&self) -> &'a str {
        short(&self.record.id)
    }

    pub(super) fn name(&self) -> &'a str {
        &self.record.name
    }

    pub(super) fn image_name(&self) -> &'a str {
        &self.record.config.image
    }

    pub(super) fn image_id(&self) -> String {
        self.record.image.to_string()
    }

    pub(super) fn created(&self) -> String {
        self.record.created.to_string()
    }

    pub(super) fn command(&self) -> String {
        let mut words = vec![self.record.path.as_str()];
        words.extend(self.record.args.iter().map(String::as_str));
        words.join(" ")
    }

    /// The name of this machine.
    pub(super) fn hostname() -> String {
        let name = rustix::system::uname();
        name.nodename().to_string_lossy().into_owned()
    }

    /// What `labels`, `labels-regex`, `env` and `env-regex` choose, under the names that `key` makes.
    pub(super) fn extra(
        &self,
        key: impl Fn(&str) -> String,
    ) -> Result<BTreeMap<String, String>, String> {
        let labels = self.record.config.labels.iter();
        let labels: BTreeMap<&str, &str> = labels
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let variables = self.record.config.env.iter();
        let variables: BTreeMap<&str, &str> = variables
            .filter_map(|variable| variable.split_once('='))
            .collect();
        let mut extra = BTreeMap::new();
        for (from, names, pattern) in [
            (&labels, "labels", "labels-regex"),
            (&variables, "env", "env-regex"),
        ] {
            for name in self.options.get(names).unwrap_or_default().split(',') {
                if let Some(value) = from.get(name) {
                    extra.insert(key(name), (*value).to_owned());
                }
            }
            let Some(pattern) = self.options.get(pattern) else {
                continue;
            };
            let pattern = Regex::new(pattern).map_err(|_| {
                format!("error parsing regexp: invalid regular expression: `{pattern}`")
            })?;
            for (name, value) in from.iter().filter(|(name, _)| pattern.is_match(name)) {
                extra.insert(key(name), (*value).to_owned());
            }
        }
        Ok(extra)
    }

    /// The attributes of the local driver's records.
    pub(super) fn for_local(&self) -> Result<BTreeMap<String, String>, String> {
        let mut attributes = self.extra(|key| key.to_owned())?;
        if self.options.get("tag").is_some() {
            attributes.insert("tag".to_owned(), self.tag()?);
        }
        Ok(attributes)
    }

    /// The tag: a template, `{{.ID}}` if none is given.
    pub(super) fn tag(&self) -> Result<String, String> {
        let template = self.options.get("tag").unwrap_or("{{.ID}}");
        let failed = |error: gotmpl::TemplateError| format!("template: log-tag:1: {error}");
        let text = |text: &str| Value::String(text.into());
        let image = self.image_id();
        let fields = [
            ("ID", text(self.short_id())),
            ("FullID", text(self.id())),
            ("ContainerID", text(self.id())),
            ("Name", text(self.name())),
            ("FullName", text(&format!("/{}", self.name()))),
            ("ContainerName", text(&format!("/{}", self.name()))),
            ("ImageID", text(short(&image))),
            ("ImageFullID", text(&image)),
            ("ContainerImageID", text(&image)),
            ("ImageName", text(self.image_name())),
            ("ContainerImageName", text(self.image_name())),
            ("Command", text(&self.command())),
            ("Hostname", text(&Self::hostname())),
            ("DaemonName", text("docker")),
        ];
        let fields = fields.map(|(name, value)| (name.into(), value));
        let case = |change: fn(&str) -> String| {
            move |args: &[Value]| {
                let word = args.first().and_then(Value::as_str).unwrap_or_default();
                Ok(Value::String(change(word).into()))
            }
        };
        Template::new("log-tag")
            .missing_key(gotmpl::MissingKey::Error)
            .func("lower", case(|word| word.to_lowercase()))
            .func("upper", case(|word| word.to_uppercase()))
            .parse(template)
            .map_err(failed)?
            .execute_to_string(&Value::Map(std::sync::Arc::new(
                fields.into_iter().collect(),
            )))
            .map_err(failed)
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
