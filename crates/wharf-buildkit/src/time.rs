//! Times as protocol buffers have them.

use bollard_buildkit_proto::google::protobuf::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    let now = jiff::Timestamp::now();
    Timestamp {
        seconds: now.as_second(),
        nanos: now.subsec_nanosecond(),
    }
}
