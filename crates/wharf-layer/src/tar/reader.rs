//! Reads members one after the other, and hashes everything that goes by if that is asked for.

use std::io::BufRead;

use wharf_oci::{Digest, Hasher};

use super::header::{Header, text};
use super::pax::Pax;
use super::{BLOCK_SIZE, Kind, MAX_BEFORE, MAX_SPECIAL, Member};
use crate::LayerError;

/// An archive on its way through.
pub(crate) struct Archive<R> {
    input: R,
    hasher: Option<Hasher>,
    /// Bytes that went by.
    position: u64,
    /// No more than so many bytes may go by.
    limit: u64,
    /// Bytes of the current member's data that did not go by yet.
    left: u64,
    /// And of the padding behind it.
    padding: u64,
    ended: bool,
}

/// What precedes a member and speaks of it.
#[derive(Default)]
struct Before {
    pax: Pax,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    /// An archive of at most `limit` bytes, and whether its digest is wanted.
    pub(crate) fn new(input: R, limit: u64, is_hashed: bool) -> Archive<R> {
        Archive {
            input,
            hasher: is_hashed.then(Hasher::sha256),
            position: 0,
            limit,
            left: 0,
            padding: 0,
            ended: false,
        }
    }

    /// The next member; `None` at the end. Data of the one before that was not read is skipped.
    pub(crate) fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        self.skip_rest()?;
        let mut before = Before::default();
        for _ in 0..MAX_BEFORE {
            let Some(block) = self.next_header()? else {
                return Ok(None);
            };
            let header = Header::new(&block).map_err(|reason| self.malformed(reason))?;
            let size = self.size_of(&header)?;
            match header.flag() {
                b'x' => {
                    let records = self.read_special(size)?;
                    before.pax = Pax::parse(&records).map_err(|reason| self.malformed(reason))?;
                }
                // What speaks of all members speaks of none: Docker ignores it, too.
                b'g' => drop(self.read_special(size)?),
                b'L' => before.name = Some(text(&self.read_special(size)?).to_vec()),
                b'K' => before.link = Some(text(&self.read_special(size)?).to_vec()),
                _ => return self.member(&header, before).map(Some),
            }
        }
        Err(LayerError::Limit("headers before a member"))
    }

    fn size_of(&self, header: &Header<'_>) -> Result<u64, LayerError> {
        let size = header.size().and_then(|size| u64::try_from(size).ok());
        size.ok_or_else(|| self.malformed("bad size"))
    }

    fn member(&mut self, header: &Header<'_>, before: Before) -> Result<Member, LayerError> {
        let bad = |reason| move |archive: &Self| archive.malformed(reason);
        let Before { pax, name, link } = before;
        let mut kind = header.kind();
        let path = name.or(pax.path).unwrap_or_else(|| header.path());
        if header.flag() == 0 && path.ends_with(b"/") {
            kind = Kind::Dir;
        }
        let id = |id: Option<i64>| id.and_then(|id| u64::try_from(id).ok());
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => header.device(),
            _ => Some((0, 0)),
        };
        let (major, minor) = device.ok_or_else(|| bad("bad device number")(self))?;
        let mut member = Member {
            kind,
            path,
            link: link.or(pax.link).unwrap_or_else(|| header.link()),
            mode: header.mode().ok_or_else(|| bad("bad mode")(self))?,
            uid: id(pax.uid.or_else(|| header.uid())).ok_or_else(|| bad("bad owner")(self))?,
            gid: id(pax.gid.or_else(|| header.gid())).ok_or_else(|| bad("bad group")(self))?,
            size: 0,
            sparse: None,
            mtime: pax
                .mtime
                .or_else(|| header.mtime())
                .ok_or_else(|| bad("bad time")(self))?,
            atime: pax.atime,
            major,
            minor,
            xattrs: pax.xattrs.into_iter().collect(),
        };
        let stored = match pax.size {
            Some(size) => u64::try_from(size).map_err(|_| bad("bad size")(self))?,
            None => self.size_of(header)?,
        };
        // Links, folders and devices have no data whatever their header says.
        if matches!(kind, Kind::File | Kind::Label | Kind::Unknown(_)) {
            self.begin_data(header, &pax.sparse, stored, &mut member)?;
        }
        Ok(member)
    }

    /// Sets the sizes of a member that may have data, and reads the map of a sparse one.
    fn begin_data(
        &mut self,
        header: &Header<'_>,
        sparse: &super::pax::PaxSparse,
        stored: u64,
        member: &mut Member,
    ) -> Result<(), LayerError> {
        let mut data = stored;
        let map = match header.flag() {
            b'S' if header.is_gnu() => Some(self.old_gnu_map(header)?),
            0 | b'0' | b'7' => self.pax_map(sparse, &mut data)?,
            _ => None,
        };
        member.size = data;
        if let Some(map) = map {
            if !map.is_sound(data) {
                return Err(self.malformed("bad map of a sparse file"));
            }
            member.size = map.real_size;
            member.sparse = Some(map.pieces);
            if let Some(name) = &sparse.name {
                member.path.clone_from(name);
            }
        }
        self.left = data;
        self.padding = padding_of(data);
        Ok(())
    }

    /// Gives the data of the current member, piece by piece, to `sink`.
    pub(crate) fn data(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        while self.left > 0 {
            let piece = fill(&mut self.input)?;
            let count = piece
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if count == 0 {
                return Err(LayerError::Truncated);
            }
            sink(&piece[..count])?;
            self.consume(count)?;
            self.left -= count as u64;
        }
        Ok(())
    }

    /// Reads to the end of the input, which may be behind the end of the archive, and returns the digest of all, if it is wanted.
    pub(crate) fn finish(mut self) -> Result<Option<Digest>, LayerError> {
        loop {
            let count = fill(&mut self.input)?.len();
            if count == 0 {
                return Ok(self.hasher.map(Hasher::finish));
            }
            self.consume(count)?;
        }
    }

    /// As Go's reader, takes an input that ends in the padding of its last member, which some writers leave out with the
    /// end mark (`docker build -f -`).
    fn skip_rest(&mut self) -> Result<(), LayerError> {
        self.data(|_| Ok(()))?;
        while self.padding > 0 {
            let length = fill(&mut self.input)?.len();
            if length == 0 {
                self.ended = true;
                self.padding = 0;
                return Ok(());
            }
            let count = length.min(usize::try_from(self.padding).unwrap_or(length));
            self.padding -= count as u64;
            self.consume(count)?;
        }
        Ok(())
    }

    /// The next block that is not the end mark (two blocks of zeros, or simply nothing more).
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK_SIZE]>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let zeros = |block: &[u8; BLOCK_SIZE]| block.iter().all(|byte| *byte == 0);
        if let Some(block) = self.read_block()? {
            if !zeros(&block) {
                return Ok(Some(block));
            }
            if self.read_block()?.is_some_and(|block| !zeros(&block)) {
                return Err(self.malformed("block of zeros in the middle"));
            }
        }
        self.ended = true;
        Ok(None)
    }

    /// One block; `None` if the input ends here.
    pub(crate) fn read_block(&mut self) -> Result<Option<[u8; BLOCK_SIZE]>, LayerError> {
        let mut block = [0; BLOCK_SIZE];
        let mut filled = 0;
        while filled < BLOCK_SIZE {
            let piece = fill(&mut self.input)?;
            let count = piece.len().min(BLOCK_SIZE - filled);
            if count == 0 {
                return if filled == 0 {
                    Ok(None)
                } else {
                    Err(LayerError::Truncated)
                };
            }
            block[filled..filled + count].copy_from_slice(&piece[..count]);
            self.consume(count)?;
            filled += count;
        }
        Ok(Some(block))
    }

    /// The data of an extended header or a long name.
    fn read_special(&mut self, size: u64) -> Result<Vec<u8>, LayerError> {
        if size > MAX_SPECIAL {
            return Err(LayerError::Limit("bytes in a header"));
        }
        let mut bytes = Vec::new();
        self.left = size;
        self.data(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        self.padding = padding_of(size);
        self.skip_rest()?;
        Ok(bytes)
    }

    fn consume(&mut self, count: usize) -> Result<(), LayerError> {
        let piece = fill(&mut self.input)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece[..count]);
        }
        self.input.consume(count);
        self.position += count as u64;
        match self.position > self.limit {
            true => Err(LayerError::Limit("bytes")),
            false => Ok(()),
        }
    }

    pub(crate) fn malformed(&self, reason: &'static str) -> LayerError {
        LayerError::Header {
            offset: self.position.saturating_sub(BLOCK_SIZE as u64),
            reason,
        }
    }
}

fn fill(input: &mut impl BufRead) -> Result<&[u8], LayerError> {
    // The borrow checker does not let a loop return what it borrowed, so interruptions are waited out first.
    while let Err(error) = input.fill_buf() {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(LayerError::read(error));
        }
    }
    input.fill_buf().map_err(LayerError::read)
}

fn padding_of(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_SIZE as u64) - size
}
