//! Sparse files: where the pieces go that are in the archive.

use std::io::BufRead;

use super::header::{Header, number};
use super::pax::{PaxSparse, decimal};
use super::{Archive, BLOCK_SIZE, MAX_SPECIAL};
use crate::LayerError;

/// The pieces of a sparse file and its real size.
pub(crate) struct Map {
    pub(crate) pieces: Vec<(u64, u64)>,
    pub(crate) real_size: u64,
}

impl<R: BufRead> Archive<R> {
    /// GNU's old form: four pieces in the header, more in blocks behind it.
    pub(crate) fn old_gnu_map(&mut self, header: &Header<'_>) -> Result<Map, LayerError> {
        let real_size = number(&header.0[483..495])
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| self.malformed("bad size of a sparse file"))?;
        let mut pieces = Vec::new();
        let mut more = header.0[482] != 0;
        let mut fields = header.0[386..482].to_vec();
        loop {
            for field in fields.chunks_exact(24) {
                if field[0] == 0 || field[12] == 0 {
                    break;
                }
                let part = |range| number(range).and_then(|part| u64::try_from(part).ok());
                match (part(&field[..12]), part(&field[12..])) {
                    (Some(offset), Some(length)) => pieces.push((offset, length)),
                    _ => return Err(self.malformed("bad map of a sparse file")),
                }
            }
            if !more {
                return Ok(Map { pieces, real_size });
            }
            if pieces.len() as u64 * 24 > MAX_SPECIAL {
                return Err(LayerError::Limit("pieces of a sparse file"));
            }
            let block = self.read_block()?.ok_or(LayerError::Truncated)?;
            fields = block[..504].to_vec();
            more = block[504] != 0;
        }
    }

    /// The forms in extended headers. Version 1.0 has its map in front of the data; `left` is the data's size in
    /// the archive and shrinks by the map. `None` if the fields say nothing of a sparse file.
    pub(crate) fn pax_map(
        &mut self,
        sparse: &PaxSparse,
        left: &mut u64,
    ) -> Result<Option<Map>, LayerError> {
        let version = (sparse.major.as_deref(), sparse.minor.as_deref());
        let numbers = match version {
            (Some(b"1"), Some(b"0")) => self.map_in_data(left)?,
            (Some(b"0"), Some(b"0" | b"1")) => sparse.map.clone(),
            (None, None) if !sparse.map.is_empty() => sparse.map.clone(),
            _ => return Ok(None),
        };
        let real_size = sparse
            .real_size
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| self.malformed("sparse file without a size"))?;
        if !numbers.len().is_multiple_of(2) {
            return Err(self.malformed("bad map of a sparse file"));
        }
        let pieces = numbers
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        Ok(Some(Map { pieces, real_size }))
    }

    /// Decimal numbers, a line each: how many pairs, then the pairs; padded to a block.
    fn map_in_data(&mut self, left: &mut u64) -> Result<Vec<u64>, LayerError> {
        let mut text = Vec::new();
        let mut numbers = Vec::new();
        let mut wanted = None;
        while wanted != Some(numbers.len() as u64) {
            let Some(rest) = left.checked_sub(BLOCK_SIZE as u64) else {
                return Err(self.malformed("bad map of a sparse file"));
            };
            *left = rest;
            text.extend_from_slice(&self.read_block()?.ok_or(LayerError::Truncated)?);
            // Complete lines only; what is left waits for the next block.
            while wanted != Some(numbers.len() as u64)
                && let Some(end) = text.iter().position(|byte| *byte == b'\n')
            {
                let line: Vec<u8> = text.drain(..=end).collect();
                let number = decimal(&line[..end])
                    .and_then(|number| u64::try_from(number).ok())
                    .ok_or_else(|| self.malformed("bad map of a sparse file"))?;
                match wanted {
                    None => wanted = Some(number.saturating_mul(2)),
                    Some(_) => numbers.push(number),
                }
            }
            if wanted.is_some_and(|wanted| wanted > MAX_SPECIAL) || text.len() > BLOCK_SIZE {
                return Err(LayerError::Limit("pieces of a sparse file"));
            }
        }
        Ok(numbers)
    }
}

impl Map {
    /// Whether the pieces are in order, do not overlap, end within the file, and are as long as the data.
    pub(crate) fn is_sound(&self, data: u64) -> bool {
        let mut end = 0_u64;
        let mut total = 0_u64;
        for (offset, length) in &self.pieces {
            match offset.checked_add(*length) {
                Some(next) if *offset >= end && next <= self.real_size => end = next,
                _ => return false,
            }
            total += length;
        }
        total == data && i64::try_from(self.real_size).is_ok()
    }
}
