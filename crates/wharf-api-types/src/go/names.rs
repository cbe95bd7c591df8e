//! The names that Go's types have in dockerd 26.1, for those who read its errors.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};

use super::GoError;

/// A type without the name of its package.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, name)| name)
}

/// A field of a type by its path, where the type has another one embedded that ours does not have.
pub(super) fn within(name: &str, field: &str) -> String {
    match (name, field) {
        ("NetworkCreateRequest", "Name") => field.to_owned(),
        ("NetworkCreateRequest", _) => format!("NetworkCreate.{field}"),
        _ => field.to_owned(),
    }
}

/// The types whose lists and maps are of pointers.
const POINTERS: &[&str] = &[
    "blkiodev.ThrottleDevice",
    "blkiodev.WeightDevice",
    "network.EndpointSettings",
    "units.Ulimit",
];

/// Fields whose type has a name of its own: the field, what it is made of, and that name.
const NAMED: &[(&str, &str, &str)] = &[
    ("Cgroup", "string", "container.CgroupSpec"),
    ("CgroupnsMode", "string", "container.CgroupnsMode"),
    ("Consistency", "string", "mount.Consistency"),
    ("Count", "int64", "int"),
    ("ExposedPorts", "map[string]struct {}", "nat.PortSet"),
    ("IPPrefixLen", "int64", "int"),
    ("Interval", "int64", "time.Duration"),
    ("IpcMode", "string", "container.IpcMode"),
    ("Isolation", "string", "container.Isolation"),
    ("MaximumRetryCount", "int64", "int"),
    ("Mode", "uint", "fs.FileMode"),
    ("NetworkMode", "string", "container.NetworkMode"),
    ("OomScoreAdj", "int64", "int"),
    ("PidMode", "string", "container.PidMode"),
    (
        "PortBindings",
        "map[string][]nat.PortBinding",
        "nat.PortMap",
    ),
    ("Propagation", "string", "mount.Propagation"),
    ("Retries", "int64", "int"),
    ("StartInterval", "int64", "time.Duration"),
    ("StartPeriod", "int64", "time.Duration"),
    ("StopTimeout", "int64", "int"),
    ("Timeout", "int64", "time.Duration"),
    ("UTSMode", "string", "container.UTSMode"),
    ("UsernsMode", "string", "container.UsernsMode"),
];

/// The type of a field that is made of `wanted`.
pub(super) fn of_field<'a>(name: &str, field: &str, wanted: &'a str) -> &'a str {
    match (name, bare(field), wanted) {
        ("RestartPolicy", "Name", _) => "container.RestartPolicyMode",
        ("Mount", "Type", _) => "mount.Type",
        (_, field, _) => {
            let named = NAMED.iter();
            let mut named = named.filter(|(of, made, _)| *of == field && *made == wanted);
            named.next().map_or(wanted, |(_, _, name)| *name)
        }
    }
}

/// The list that a visitor wants.
pub(super) fn of_list<'de, V: Visitor<'de>>(visitor: V) -> String {
    format!("[]{}", of_element(visitor.visit_seq(Probe)))
}

/// The map that a visitor wants.
pub(super) fn of_map<'de, V: Visitor<'de>>(visitor: V) -> String {
    format!("map[string]{}", of_element(visitor.visit_map(Probe)))
}

fn of_element<T>(asked: Result<T, GoError>) -> String {
    match asked {
        Err(GoError::Type(name)) if POINTERS.contains(&name.as_str()) => format!("*{name}"),
        Err(GoError::Type(name)) => name,
        _ => "string".to_owned(),
    }
}

/// Has no value: it hears what type one would be read as, and tells it as an error.
struct Probe;

fn told<T>(name: impl Into<String>) -> Result<T, GoError> {
    Err(GoError::Type(name.into()))
}

macro_rules! told {
    ($($method:ident $name:literal;)+) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, GoError> {
            told($name)
        })+
    };
}

impl<'de> Deserializer<'de> for Probe {
    type Error = GoError;

    told! {
        deserialize_any "string";
        deserialize_bool "bool";
        deserialize_i8 "int8";
        deserialize_i16 "int16";
        deserialize_i32 "int";
        deserialize_i64 "int64";
        deserialize_u8 "uint8";
        deserialize_u16 "uint16";
        deserialize_u32 "uint";
        deserialize_u64 "uint64";
        deserialize_f32 "float64";
        deserialize_f64 "float64";
        deserialize_char "string";
        deserialize_str "string";
        deserialize_string "string";
        deserialize_bytes "string";
        deserialize_byte_buf "string";
        deserialize_unit "struct {}";
        deserialize_identifier "string";
        deserialize_ignored_any "string";
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: V,
    ) -> Result<V::Value, GoError> {
        told(name)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, GoError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        told(of_list(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, _: V) -> Result<V::Value, GoError> {
        told(format!("[{length}]uint"))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, GoError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        told(of_map(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, GoError> {
        // Go's struct without fields has no name.
        told(if fields.is_empty() { "struct {}" } else { name })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, GoError> {
        told("string")
    }
}

impl<'de> SeqAccess<'de> for Probe {
    type Error = GoError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, GoError> {
        seed.deserialize(Probe).map(Some)
    }
}

impl<'de> MapAccess<'de> for Probe {
    type Error = GoError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, GoError> {
        let key: StrDeserializer<'de, GoError> = "".into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, GoError> {
        seed.deserialize(Probe)
    }
}
