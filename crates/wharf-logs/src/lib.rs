//! Log drivers: json-file writing, rotation and reading back.
