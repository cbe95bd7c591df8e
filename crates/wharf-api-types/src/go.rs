//! JSON as Go's `encoding/json` reads it, which is what Docker's clients are used to.
//!
//! - Names of fields are found whatever the case of their letters; of two that mean the same field the last one holds.
//! - `null` is the zero value wherever it stands, in a list or a map too.
//! - An array of a fixed length takes what there is, and the rest is zero.
//! - What does not fit is told of in Go's words: `json: cannot unmarshal number into Go struct field ….Image of type string`.

mod names;
mod syntax;

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde_json::Value;

/// Why a document is not what it should be, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoError {
    /// It is no JSON.
    Syntax(String),
    /// A value is of another type.
    Type(String),
    /// Something follows it.
    Trailing,
}

impl fmt::Display for GoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) | Self::Type(text) => f.write_str(text),
            Self::Trailing => f.write_str("unexpected content after JSON"),
        }
    }
}

impl std::error::Error for GoError {}

impl serde::de::Error for GoError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Type(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, _: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "bool",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "number",
            Unexpected::Map => "object",
            Unexpected::Seq => "array",
            _ => "string",
        };
        Self::Type(format!(
            "json: cannot unmarshal {found} into Go value of type string"
        ))
    }
}

/// What stands for a place that is no field, and what is between a place and a type.
const VALUE: &str = "value";
const FIELD: &str = " into Go struct field ";
const OF: &str = " of type ";

impl GoError {
    /// The error of a value, told by who reads it as the field of a type. Go names the innermost type and then all fields
    /// from the outermost one on.
    fn beneath(self, name: &str, field: &str) -> Self {
        let Self::Type(text) = self else { return self };
        let name = names::bare(name);
        let field = names::within(name, field);
        let whole = format!(" into Go {VALUE}{OF}");
        Self::Type(match text.split_once(&whole) {
            Some((found, wanted)) => {
                let wanted = names::of_field(name, &field, wanted);
                format!("{found}{FIELD}{name}.{field}{OF}{wanted}")
            }
            None => match parts(&text) {
                Some((found, inner, path)) => format!("{found}{FIELD}{inner}.{field}.{path}"),
                None => text,
            },
        })
    }

    /// The error of a type whose fields stand among those of another: it goes by the other's name.
    pub(crate) fn embedded(self, embedded: &str, outer: &str) -> Self {
        let Self::Type(text) = self else { return self };
        Self::Type(match (parts(&text), text.rsplit_once(OF)) {
            (Some((found, inner, path)), _) => {
                let is_own = inner == embedded;
                let inner = if is_own { names::bare(outer) } else { inner };
                format!("{found}{FIELD}{inner}.{embedded}.{path}")
            }
            (None, Some((found, _))) => format!("{found}{OF}{outer}"),
            (None, None) => text,
        })
    }
}

/// What was found, the innermost type, and the rest that begins with the path of fields.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (found, place) = text.split_once(FIELD)?;
    let (inner, path) = place.split_once('.')?;
    Some((found, inner, path))
}

/// Reads one document.
///
/// # Errors
/// If it is no JSON, something follows it, or its values are of other types than those of `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, GoError> {
    // As Go does, in place of what is no UTF-8.
    let text = String::from_utf8_lossy(bytes);
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    match documents.next() {
        Some(Ok(value)) => {
            nothing_follows(&text[documents.byte_offset()..])?;
            from_value(&value)
        }
        // Looked at once more only to say what is wrong with it.
        _ => from_value(&first(&text)?),
    }
}

/// The first document of a text in which something is wrong, or else what.
fn first(text: &str) -> Result<Value, GoError> {
    let end = syntax::check(text).map_err(GoError::Syntax)?;
    let (document, rest) = text.split_at(end);
    nothing_follows(rest)?;
    serde_json::from_str(document).map_err(|error| GoError::Syntax(error.to_string()))
}

/// A closing bracket too many is not looked at, by Go either.
fn nothing_follows(rest: &str) -> Result<(), GoError> {
    let rest = rest.trim_start();
    match rest.starts_with(|next| !matches!(next, ']' | '}')) {
        true => Err(GoError::Trailing),
        false => Ok(()),
    }
}

/// Reads a document that is known already.
///
/// # Errors
/// As [`from_slice`].
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, GoError> {
    T::deserialize(Reader::new(value))
}

/// Reads a document that is known already.
pub(crate) fn reader(value: &Value) -> Reader<'_> {
    Reader::new(value)
}

/// A value that is read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    value: &'a Value,
}

/// What stands for an entry that is not there.
static NOTHING: Value = Value::Null;

impl<'a> Reader<'a> {
    fn new(value: &'a Value) -> Self {
        Self { value }
    }

    /// The value is not of the type `wanted`.
    fn mismatch<T>(self, wanted: &str) -> Result<T, GoError> {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.not_as_wanted(found, wanted)
    }

    /// The value is no number, or not one of the type `wanted`.
    fn no_integer<T>(self, wanted: &str) -> Result<T, GoError> {
        match self.value {
            Value::Number(number) => self.not_as_wanted(&format!("number {number}"), wanted),
            _ => self.mismatch(wanted),
        }
    }

    fn not_as_wanted<T>(self, found: &str, wanted: &str) -> Result<T, GoError> {
        Err(GoError::Type(format!(
            "json: cannot unmarshal {found} into Go {VALUE}{OF}{wanted}"
        )))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $kind:ty, $name:literal;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
            let number = match self.value {
                Value::Null => Some(0),
                Value::Number(number) => number
                    .as_i64()
                    .and_then(|number| number.try_into().ok())
                    .or_else(|| number.as_u64()?.try_into().ok()),
                _ => None,
            };
            match number {
                Some(number) => visitor.$visit(number),
                None => self.no_integer($name),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = GoError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (_, _, Some(number)) => visitor.visit_f64(number),
                _ => self.mismatch("float64"),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => self.mismatch("bool"),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint";
        deserialize_u64 visit_u64 u64, "uint64";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            _ => self.mismatch("float64"),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_borrowed_str(""),
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => self.mismatch("string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, GoError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, GoError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_seq(List::new(&[], 0)),
            Value::Array(list) => visitor.visit_seq(List::new(list, list.len())),
            _ => self.mismatch(&names::of_list(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, GoError> {
        match self.value {
            Value::Null => visitor.visit_seq(List::new(&[], length)),
            Value::Array(list) => visitor.visit_seq(List::new(list, length)),
            _ => self.mismatch(&format!("[{length}]uint")),
        }
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
        let rest = match self.value {
            Value::Null => return visitor.visit_map(Fields::new("", Vec::new())),
            Value::Object(map) => map.iter(),
            _ => return self.mismatch(&names::of_map(visitor)),
        };
        visitor.visit_map(Entries {
            rest,
            value: &NOTHING,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GoError> {
        let map = match self.value {
            Value::Null => return visitor.visit_map(Fields::new(name, Vec::new())),
            Value::Object(map) => map,
            // Go's struct without fields has no name.
            _ if fields.is_empty() => return self.mismatch("struct {}"),
            _ => return self.mismatch(name),
        };
        let mut entries: Vec<(&'static str, &Value)> = Vec::new();
        for (key, value) in map {
            let Some(field) = field_of(fields, key) else {
                continue;
            };
            match entries.iter_mut().find(|(known, _)| *known == field) {
                // `null` changes nothing.
                Some(_) if value.is_null() => {}
                Some(known) => known.1 = value,
                None => entries.push((field, value)),
            }
        }
        visitor.visit_map(Fields::new(name, entries))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, GoError> {
        match self.value {
            Value::String(text) => {
                let variant: StrDeserializer<'de, GoError> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => self.mismatch("string"),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, GoError> {
        visitor.visit_unit()
    }
}

/// The field that Go takes `key` for: the one of this name, or else one that differs in the case of letters.
fn field_of(fields: &'static [&'static str], key: &str) -> Option<&'static str> {
    let exact = fields.iter().find(|field| **field == key);
    let folded = || fields.iter().find(|field| field.eq_ignore_ascii_case(key));
    exact.or_else(folded).copied()
}

/// The entries of a list.
struct List<'a> {
    list: &'a [Value],
    next: usize,
    length: usize,
}

impl<'a> List<'a> {
    fn new(list: &'a [Value], length: usize) -> Self {
        Self {
            list,
            next: 0,
            length,
        }
    }
}

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = GoError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, GoError> {
        if self.next == self.length {
            return Ok(None);
        }
        let value = self.list.get(self.next).unwrap_or(&NOTHING);
        self.next += 1;
        seed.deserialize(Reader::new(value)).map(Some)
    }
}

/// The entries of an object whose keys are anybody's.
struct Entries<'a> {
    rest: serde_json::map::Iter<'a>,
    value: &'a Value,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = GoError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, GoError> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = value;
        let key: StrDeserializer<'de, GoError> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, GoError> {
        seed.deserialize(Reader::new(self.value))
    }
}

/// The entries of an object that are fields of a type.
struct Fields<'a> {
    name: &'static str,
    rest: std::vec::IntoIter<(&'static str, &'a Value)>,
    next: (&'static str, &'a Value),
}

impl<'a> Fields<'a> {
    fn new(name: &'static str, entries: Vec<(&'static str, &'a Value)>) -> Self {
        Self {
            name,
            rest: entries.into_iter(),
            next: ("", &NOTHING),
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = GoError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, GoError> {
        let Some((field, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.next = (field, value);
        let key: StrDeserializer<'de, GoError> = field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, GoError> {
        let (field, value) = self.next;
        let read = seed.deserialize(Reader::new(value));
        read.map_err(|error| error.beneath(self.name, field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerCreateRequest, ContainerUpdateRequest};

    fn create(text: &str) -> Result<ContainerCreateRequest, String> {
        from_slice(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let request = create(
            r#"{"image":"a","IMAGE":"b","hostconfig":{"memory":5,"DNS":["x"]},"labels":{"Image":"c"}}"#,
        );
        let request = request.unwrap();
        assert_eq!(request.config.image, "b");
        assert_eq!(request.config.labels.unwrap()["Image"], "c");
        let host = request.host_config.unwrap();
        assert_eq!(host.resources.memory, 5);
        assert_eq!(host.dns.unwrap(), ["x"]);
    }

    #[test]
    fn null_is_nothing_wherever_it_stands() {
        let request = create(
            r#"{"Image":"a","Labels":{"a":null},"Env":[null],"Volumes":{"/x":null},"Cmd":null,
                "HostConfig":{"Memory":null,"LogConfig":{"Config":{"a":null}},"RestartPolicy":null,"ConsoleSize":[4]}}"#,
        );
        let request = request.unwrap();
        assert_eq!(request.config.labels.unwrap()["a"], "");
        assert_eq!(request.config.env.unwrap(), [""]);
        assert!(request.config.volumes.unwrap().contains_key("/x"));
        assert_eq!(request.config.cmd, None);
        let host = request.host_config.unwrap();
        assert_eq!(host.log_config.config["a"], "");
        assert_eq!(host.console_size, [4, 0]);
        assert_eq!(create("null"), Ok(ContainerCreateRequest::default()));
    }

    #[test]
    fn what_does_not_fit_is_told_in_gos_words() {
        for (text, wrong) in [
            (
                r#"{"Image":1}"#,
                "number into Go struct field ContainerConfigWrapper.Config.Image of type string",
            ),
            (
                r#"{"Cmd":1}"#,
                "number into Go struct field ContainerConfigWrapper.Config.Cmd of type string",
            ),
            (
                r#"{"Cmd":[1]}"#,
                "array into Go struct field ContainerConfigWrapper.Config.Cmd of type string",
            ),
            (
                r#"{"Labels":[]}"#,
                "array into Go struct field ContainerConfigWrapper.Config.Labels of type map[string]string",
            ),
            (
                r#"{"Labels":{"a":1}}"#,
                "number into Go struct field ContainerConfigWrapper.Config.Labels of type string",
            ),
            (
                r#"{"ExposedPorts":[]}"#,
                "array into Go struct field ContainerConfigWrapper.Config.ExposedPorts of type nat.PortSet",
            ),
            (
                r#"{"ExposedPorts":{"a":1}}"#,
                "number into Go struct field ContainerConfigWrapper.Config.ExposedPorts of type struct {}",
            ),
            (
                r#"{"Volumes":[]}"#,
                "array into Go struct field ContainerConfigWrapper.Config.Volumes of type map[string]struct {}",
            ),
            (
                r#"{"StopTimeout":"x"}"#,
                "string into Go struct field ContainerConfigWrapper.Config.StopTimeout of type int",
            ),
            (
                r#"{"Healthcheck":{"Interval":"1s"}}"#,
                "string into Go struct field HealthcheckConfig.Config.Healthcheck.Interval of type time.Duration",
            ),
            (
                r#"{"HostConfig":[]}"#,
                "array into Go struct field ContainerConfigWrapper.HostConfig of type container.HostConfig",
            ),
            (
                r#"{"HostConfig":{"Binds":"x"}}"#,
                "string into Go struct field HostConfig.HostConfig.Binds of type []string",
            ),
            (
                r#"{"HostConfig":{"NetworkMode":1}}"#,
                "number into Go struct field HostConfig.HostConfig.NetworkMode of type container.NetworkMode",
            ),
            (
                r#"{"HostConfig":{"Memory":1.5}}"#,
                "number 1.5 into Go struct field HostConfig.HostConfig.Resources.Memory of type int64",
            ),
            (
                r#"{"HostConfig":{"BlkioWeight":70000}}"#,
                "number 70000 into Go struct field HostConfig.HostConfig.Resources.BlkioWeight of type uint16",
            ),
            (
                r#"{"HostConfig":{"Ulimits":{}}}"#,
                "object into Go struct field HostConfig.HostConfig.Resources.Ulimits of type []*units.Ulimit",
            ),
            (
                r#"{"HostConfig":{"Ulimits":[{"Soft":"x"}]}}"#,
                "string into Go struct field Ulimit.HostConfig.Resources.Ulimits.Soft of type int64",
            ),
            (
                r#"{"HostConfig":{"Mounts":["x"]}}"#,
                "string into Go struct field HostConfig.HostConfig.Mounts of type mount.Mount",
            ),
            (
                r#"{"HostConfig":{"Mounts":[{"BindOptions":{"Propagation":1}}]}}"#,
                "number into Go struct field BindOptions.HostConfig.Mounts.BindOptions.Propagation of type mount.Propagation",
            ),
            (
                r#"{"HostConfig":{"DeviceRequests":[{"Capabilities":"x"}]}}"#,
                "string into Go struct field DeviceRequest.HostConfig.Resources.DeviceRequests.Capabilities of type [][]string",
            ),
            (
                r#"{"HostConfig":{"PortBindings":"x"}}"#,
                "string into Go struct field HostConfig.HostConfig.PortBindings of type nat.PortMap",
            ),
            (
                r#"{"HostConfig":{"PortBindings":{"80/tcp":{}}}}"#,
                "object into Go struct field HostConfig.HostConfig.PortBindings of type []nat.PortBinding",
            ),
            (
                r#"{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}"#,
                "number into Go struct field PortBinding.HostConfig.PortBindings.HostPort of type string",
            ),
            (
                r#"{"HostConfig":{"RestartPolicy":{"Name":1}}}"#,
                "number into Go struct field RestartPolicy.HostConfig.RestartPolicy.Name of type container.RestartPolicyMode",
            ),
            (
                r#"{"HostConfig":{"ConsoleSize":5}}"#,
                "number into Go struct field HostConfig.HostConfig.ConsoleSize of type [2]uint",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":[]}}"#,
                "array into Go struct field NetworkingConfig.NetworkingConfig.EndpointsConfig of type map[string]*network.EndpointSettings",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":{"a":5}}}"#,
                "number into Go struct field NetworkingConfig.NetworkingConfig.EndpointsConfig of type network.EndpointSettings",
            ),
            (
                r#"{"NetworkingConfig":{"EndpointsConfig":{"a":{"IPAMConfig":{"IPv4Address":1}}}}}"#,
                "number into Go struct field EndpointIPAMConfig.NetworkingConfig.EndpointsConfig.IPAMConfig.IPv4Address of type string",
            ),
            (
                r#""x""#,
                "string into Go value of type runconfig.ContainerConfigWrapper",
            ),
        ] {
            let error = create(text).unwrap_err();
            assert_eq!(error, format!("json: cannot unmarshal {wrong}"), "{text}");
        }
    }

    #[test]
    fn types_of_other_requests_have_gos_names() {
        let wrong = |error: GoError| error.to_string().replace("json: cannot unmarshal ", "");
        let network = |text: &str| {
            let read = from_slice::<crate::NetworkCreateRequest>(text.as_bytes());
            wrong(read.unwrap_err())
        };
        assert_eq!(
            network(r#"{"IPAM":{"Config":["x"]}}"#),
            "string into Go struct field IPAM.NetworkCreate.IPAM.Config of type network.IPAMConfig"
        );
        assert_eq!(
            network(r#"{"Name":1}"#),
            "number into Go struct field NetworkCreateRequest.Name of type string"
        );
        assert_eq!(
            network("[]"),
            "array into Go value of type types.NetworkCreateRequest"
        );
        let update = from_slice::<ContainerUpdateRequest>(br#"{"Memory":"x"}"#);
        assert_eq!(
            wrong(update.unwrap_err()),
            "string into Go struct field UpdateConfig.Resources.Memory of type int64"
        );
        let update = from_slice::<ContainerUpdateRequest>(b"5");
        assert_eq!(
            wrong(update.unwrap_err()),
            "number into Go value of type container.UpdateConfig"
        );
    }

    #[test]
    fn limits_are_read_beside_the_policy() {
        let text = br#"{"cpushares":5,"RestartPolicy":{"Name":"always"}}"#;
        let request: ContainerUpdateRequest = from_slice(text).unwrap();
        assert_eq!(request.resources.cpu_shares, 5);
        assert_eq!(request.restart_policy.unwrap().name, "always");
    }

    #[test]
    fn nothing_may_follow_but_a_bracket() {
        let read = |text: &str| from_slice::<ContainerCreateRequest>(text.as_bytes());
        assert!(read("{} ").is_ok() && read("{}}").is_ok());
        assert_eq!(read("{} {}"), Err(GoError::Trailing));
        assert_eq!(read("nullx"), Err(GoError::Trailing));
        let syntax = |text: &str| Err(GoError::Syntax(text.to_owned()));
        assert_eq!(read(""), syntax("unexpected EOF"));
        let wrong = "invalid character ']' looking for beginning of value";
        assert_eq!(read("{\"Image\":]"), syntax(wrong));
    }
}
