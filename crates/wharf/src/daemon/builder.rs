//! The key `builder` of `daemon.json`: what builds may do, and what stays of them. Its names are read in any case of
//! letters, as Go does, because guides have them in several.

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value};
use wharf_engine::{BuildConfig, CACHE_FIELDS, Gc, GcLimits, GcRule};

/// Reads it.
///
/// # Errors
/// If a name is unknown, or a value makes no sense.
pub(super) fn read(value: &Value) -> Result<BuildConfig> {
    let fields = Fields::of(value, "builder", &["gc", "entitlements"])?;
    let mut config = BuildConfig::default();
    if let Some(value) = fields.get("entitlements") {
        let known = ["network-host", "security-insecure"];
        let fields = Fields::of(value, "builder.entitlements", &known)?;
        config.network_host = fields.flag("network-host")?.unwrap_or(config.network_host);
        config.security_insecure = fields
            .flag("security-insecure")?
            .unwrap_or(config.security_insecure);
    }
    if let Some(value) = fields.get("gc") {
        config.gc = gc(value)?;
    }
    Ok(config)
}

fn gc(value: &Value) -> Result<Gc> {
    let known = [
        "enabled",
        "policy",
        "defaultkeepstorage",
        "defaultreservedspace",
        "defaultmaxusedspace",
        "defaultminfreespace",
    ];
    let fields = Fields::of(value, "builder.gc", &known)?;
    if fields.flag("enabled")? == Some(false) {
        return Ok(Gc::Off);
    }
    let limits = GcLimits {
        reserved_space: match fields.size("defaultreservedspace")? {
            0 => fields.size("defaultkeepstorage")?,
            size => size,
        },
        max_used_space: fields.size("defaultmaxusedspace")?,
        min_free_space: fields.size("defaultminfreespace")?,
    };
    match fields.get("policy") {
        None => Ok(Gc::Default(limits)),
        Some(Value::Array(rules)) => {
            let rules = rules.iter().map(|value| rule(value, limits));
            Ok(Gc::Rules(rules.collect::<Result<_>>()?))
        }
        Some(_) => bail!("builder.gc.policy: not a list"),
    }
}

/// A rule without an own limit has the general one.
fn rule(value: &Value, general: GcLimits) -> Result<GcRule> {
    let known = [
        "all",
        "filter",
        "keepstorage",
        "reservedspace",
        "maxusedspace",
        "minfreespace",
    ];
    let fields = Fields::of(value, "builder.gc.policy", &known)?;
    let or = |size: i64, general: i64| if size == 0 { general } else { size };
    let keep = match fields.size("reservedspace")? {
        0 => fields.size("keepstorage")?,
        size => size,
    };
    let mut rule = GcRule {
        all: fields.flag("all")?.unwrap_or(false),
        limits: GcLimits {
            reserved_space: or(keep, general.reserved_space),
            max_used_space: or(fields.size("maxusedspace")?, general.max_used_space),
            min_free_space: or(fields.size("minfreespace")?, general.min_free_space),
        },
        ..GcRule::default()
    };
    let filters = match fields.get("filter") {
        None => &[],
        Some(Value::Array(filters)) => &filters[..],
        Some(_) => bail!("builder.gc.policy.filter: not a list"),
    };
    for filter in filters {
        let text = filter.as_str().unwrap_or_default();
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("builder.gc.policy.filter: invalid filter {filter}"))?;
        match name {
            "unused-for" | "until" => rule.keep_duration = seconds(value)?,
            name if CACHE_FIELDS.contains(&name) => rule.filters.push(format!("{name}=={value}")),
            name => bail!("builder.gc.policy.filter: invalid filter '{name}'"),
        }
    }
    // All of a rule's filters are to fit.
    rule.filters = Some(rule.filters.join(","))
        .filter(|filter| !filter.is_empty())
        .into_iter()
        .collect();
    Ok(rule)
}

fn seconds(text: &str) -> Result<i64> {
    let nanoseconds = crate::format::units::parse_duration(text).map_err(|error| anyhow!(error))?;
    Ok(nanoseconds / 1_000_000_000)
}

/// The fields of an object, by their names in small letters.
struct Fields {
    name: &'static str,
    fields: Map<String, Value>,
}

impl Fields {
    fn of(value: &Value, name: &'static str, known: &[&str]) -> Result<Self> {
        let Value::Object(given) = value else {
            bail!("{name}: not an object");
        };
        let mut fields = Map::new();
        for (key, value) in given {
            let key = key.to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                bail!(
                    "the following directives don't match any configuration option: {name}.{key}"
                );
            }
            fields.insert(key, value.clone());
        }
        Ok(Self { name, fields })
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => bail!("{}.{key}: {other} is no boolean", self.name),
        }
    }

    /// Bytes; 0 for no word about it.
    fn size(&self, key: &str) -> Result<i64> {
        match self.get(key) {
            None => Ok(0),
            Some(Value::String(text)) if text.is_empty() => Ok(0),
            Some(Value::String(text)) => wharf_go::ram_in_bytes(text)
                .map_err(|error| anyhow!("{}.{key}: could not parse '{text}': {error}", self.name)),
            Some(other) => bail!("{}.{key}: {other} is no size", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_guides_say_is_read() {
        let config = read(&json!({
            "gc": { "enabled": true, "defaultKeepStorage": "20GB", "policy": [
                { "keepStorage": "10GB", "filter": ["unused-for=2200h", "type=regular"] },
                { "all": true, "keepStorage": "100GB" },
                {},
            ]},
            "entitlements": { "network-host": false, "security-insecure": true },
        }))
        .unwrap();
        assert!(!config.network_host && config.security_insecure);
        let Gc::Rules(rules) = config.gc else {
            panic!("{:?}", config.gc);
        };
        assert_eq!(rules[0].keep_duration, 2200 * 3600);
        assert_eq!(rules[0].filters, ["type==regular"]);
        assert_eq!(rules[0].limits.reserved_space, 10 << 30);
        assert!(rules[1].all && rules[2].limits.reserved_space == 20 << 30);
        let off = read(&json!({ "GC": { "Enabled": false } })).unwrap();
        assert_eq!(off.gc, Gc::Off);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refusal = |value: Value| read(&value).unwrap_err().to_string();
        assert!(refusal(json!({ "gcs": {} })).ends_with("builder.gcs"));
        let text = refusal(json!({ "gc": { "defaultKeepStorage": "much" } }));
        assert!(
            text.starts_with("builder.gc.defaultkeepstorage: could not parse 'much'"),
            "{text}"
        );
        let filter = |text: &str| json!({ "gc": { "policy": [{ "filter": [text] }] } });
        assert!(refusal(filter("colour=red")).ends_with("invalid filter 'colour'"));
        assert!(refusal(filter("x")).contains("invalid filter"));
        assert!(
            refusal(json!({ "entitlements": { "network-host": "yes" } })).contains("no boolean")
        );
    }
}
