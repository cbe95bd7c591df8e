//! How answers are shown: sizes and times for people, tables, Go templates.

pub mod indent;
pub mod json;
pub mod rows;
pub mod table;
pub mod template;
pub mod time;
pub mod units;
