//! The records of an engine, seen and spoilt from outside.

use crate::world::World;

/// A second look at the records of an engine.
pub(crate) fn records(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.root.path().join("data/wharf.db")).unwrap()
}

/// From now on no record of a container with this text in it can be written, as on a full disk.
pub(crate) fn refuse(world: &World, text: &str) {
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON record
         WHEN NEW.kind = 'containers' AND instr(CAST(NEW.body AS TEXT), '{text}') > 0
         BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    );
    records(world).execute_batch(&trigger).unwrap();
}

pub(crate) fn allow(world: &World) {
    records(world).execute_batch("DROP TRIGGER refuse").unwrap();
}
