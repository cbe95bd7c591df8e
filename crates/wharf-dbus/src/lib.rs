//! D-Bus, as far as the services of a host are asked with it: calls, their answers, and signals.
//!
//! The source is the [D-Bus specification](https://dbus.freedesktop.org/doc/dbus-specification.html). One connection is
//! one blocking socket: calls are made in turn, and signals that come meanwhile are kept.

mod connection;
mod message;

pub use connection::{Connection, Failure};
pub use message::{Decoder, Encoder, Kind, Message, Target, Value};
