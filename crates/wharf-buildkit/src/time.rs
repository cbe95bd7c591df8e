//! Times as protocol buffers have them.

use bollard_buildkit_proto::google::protobuf::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    of(jiff::Timestamp::now())
}

/// A time.
pub(crate) fn of(time: jiff::Timestamp) -> Timestamp {
    Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}
