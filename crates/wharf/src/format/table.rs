//! Columns aligned as Go's `text/tabwriter` does it with the settings Docker uses
//! (cells at least 10 wide, three spaces between them).

/// Minimum width of a cell, padding included.
const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Aligns the cells of `text`: lines of cells that each end with a tab. What follows the last tab of a line belongs
/// to no column. A column is a block of adjacent lines that have a cell there.
pub fn align(text: &str) -> String {
    align_with(text, MIN_WIDTH, PADDING)
}

/// [`align`] with other widths (`wharf top`, which Docker draws with 20 and 3).
pub fn align_with(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .split('\n')
        .map(|line| line.split('\t').collect())
        .collect();
    let mut writer = Writer {
        lines: &lines,
        min_width,
        padding,
        widths: Vec::new(),
        out: String::new(),
    };
    writer.format(0, lines.len());
    // `split` gives one empty line after the last line end.
    writer.out.pop();
    writer.out
}

struct Writer<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Writer<'_> {
    // The recursion of Go's tabwriter: find the block of the next column, fix its width, descend.
    fn format(&mut self, first: usize, last: usize) {
        let column = self.widths.len();
        let mut done = first;
        let mut line = first;
        while line < last {
            if column + 1 >= self.lines[line].len() {
                line += 1;
                continue;
            }
            self.write(done, line);
            let start = line;
            let mut width = self.min_width;
            while line < last && column + 1 < self.lines[line].len() {
                let cell = self.lines[line][column].chars().count();
                width = width.max(cell + self.padding);
                line += 1;
            }
            self.widths.push(width);
            self.format(start, line);
            self.widths.pop();
            done = line;
        }
        self.write(done, last);
    }

    fn write(&mut self, first: usize, last: usize) {
        for line in &self.lines[first..last] {
            for (index, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let (true, Some(width)) = (index + 1 < line.len(), self.widths.get(index)) {
                    let blank = width.saturating_sub(cell.chars().count());
                    self.out.extend(std::iter::repeat_n(' ', blank));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_docker_images() {
        let text =
            "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\nbusybox\tlatest\tabc\t2 weeks ago\t4.27MB\n";
        let shown = "REPOSITORY   TAG       IMAGE ID   CREATED       SIZE\nbusybox      latest    abc        2 weeks ago   4.27MB\n";
        assert_eq!(align(text), shown);
    }

    #[test]
    fn a_line_without_cells_ends_the_block() {
        assert_eq!(
            align("a\tb\n\nlonger-than-ten\tb\n"),
            "a         b\n\nlonger-than-ten   b\n"
        );
    }
}
