//! Source lines of a component's code, from the debug information it brought along.
//!
//! Owns what is kept of it, and the table made of that when an instance first dies. The engine itself reads none
//! (`wasm_backtrace_details` stays off): it would copy whatever names a stranger's DWARF nests, at each trap, without
//! a bound. Here only line tables are read (`.debug_line`, DWARF 2 to 5, 32 bits), in one pass, linear in their size,
//! and every size has a bound below; what is beyond it, or not well-formed, has no lines. Nothing is kept of a component
//! without line tables. Inlined functions are not told apart: a frame has the innermost line.

use std::ops::Range;
use std::sync::OnceLock;

use gimli::{
    AttributeValue, ColumnType, DebugLine, DebugLineOffset, DebugLineStr, DebugStr, EndianSlice,
    LineProgramHeader, LittleEndian,
};
use wasmparser::{Parser, Payload};

use crate::fault::{FRAME_BYTES_MAX, SourceLine};
use crate::printable::printable;

/// Bytes of line tables that are kept of one component (4 MiB): enough for a large Rust guest. Reading them takes some
/// 10 ms, once.
const LINES_BYTES_MAX: usize = 4 << 20;

/// Bytes of `.debug_str` that are kept of one component (1 MiB). Few compilers name files there; where it is larger, it
/// is full of other names, and those files have none.
const STRINGS_BYTES_MAX: usize = 1 << 20;

/// Bytes of the header of one unit (64 KiB), with its file names: gimli makes a record of some hundred bytes of each.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Rows of one component's table, of 16 bytes each.
const ROWS_MAX: usize = 1 << 19;

/// Bytes of the names of files in one component's table (1 MiB).
const FILES_BYTES_MAX: usize = 1 << 20;

/// A row without a file ends what came before it.
const NO_FILE: u32 = u32::MAX;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The line tables of one component.
#[derive(Debug, Default)]
pub(crate) struct SourceLines {
    modules: Box<[Sections]>,
    table: OnceLock<Table>,
}

/// What one core module brought along.
#[derive(Debug, Default)]
struct Sections {
    /// Where its code lies in the component.
    code: Range<usize>,
    line: Box<[u8]>,
    line_str: Box<[u8]>,
    strings: Box<[u8]>,
}

/// Where the names of files may be.
struct Strings<'a> {
    lines: DebugLineStr<Slice<'a>>,
    all: DebugStr<Slice<'a>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By address in the component.
    rows: Vec<Row>,
    files: Vec<Box<str>>,
    files_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    address: u32,
    file: u32,
    line: u32,
    column: u32,
}

impl SourceLines {
    /// Keeps the line tables of a component that was found to be one.
    pub(super) fn of(component: &[u8]) -> Self {
        let mut modules = Vec::new();
        let mut open: Vec<Option<Sections>> = Vec::new();
        let (mut left, mut strings_left) = (LINES_BYTES_MAX, STRINGS_BYTES_MAX);
        // The component itself is opened by its version, as every nested one is.
        for payload in Parser::new(0).parse_all(component) {
            let Ok(payload) = payload else { break };
            match payload {
                Payload::Version { encoding, .. } => {
                    let module = encoding == wasmparser::Encoding::Module;
                    open.push(module.then(Sections::default));
                }
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.code = range;
                    }
                }
                Payload::CustomSection(section) => {
                    let Some(Some(module)) = open.last_mut() else {
                        continue;
                    };
                    let kept = match section.name() {
                        ".debug_line" => &mut module.line,
                        ".debug_line_str" => &mut module.line_str,
                        ".debug_str" => {
                            if let Some(rest) = strings_left.checked_sub(section.data().len()) {
                                strings_left = rest;
                                module.strings = section.data().into();
                            }
                            continue;
                        }
                        _ => continue,
                    };
                    let Some(rest) = left.checked_sub(section.data().len()) else {
                        tracing::debug!(
                            "a component's line tables are too large to be kept: its backtraces have no lines"
                        );
                        return Self::default();
                    };
                    left = rest;
                    *kept = section.data().into();
                }
                Payload::End(_) => {
                    if let Some(Some(module)) = open.pop()
                        && !module.line.is_empty()
                    {
                        modules.push(module);
                    }
                }
                _ => {}
            }
        }
        Self {
            modules: modules.into(),
            table: OnceLock::new(),
        }
    }

    /// The line of the code at a place in the component.
    pub(crate) fn find(&self, place: usize) -> Option<SourceLine> {
        if self.modules.is_empty() {
            return None;
        }
        let table = self.table.get_or_init(|| Table::of(&self.modules));
        table.find(u32::try_from(place).ok()?)
    }
}

impl Table {
    fn of(modules: &[Sections]) -> Self {
        let mut table = Self::default();
        for module in modules {
            table.add_module(module);
        }
        // Stable: of rows of one address the last holds, as in the program they come from.
        table.rows.sort_by_key(|row| row.address);
        table.rows.shrink_to_fit();
        table
    }

    fn find(&self, place: u32) -> Option<SourceLine> {
        let after = self.rows.partition_point(|row| row.address <= place);
        let row = self.rows.get(after.checked_sub(1)?)?;
        let file = self.files.get(usize::try_from(row.file).ok()?)?;
        Some(SourceLine {
            file: file.to_string(),
            line: row.line,
            column: row.column,
        })
    }

    fn add_module(&mut self, module: &Sections) {
        let section = DebugLine::new(&module.line, LittleEndian);
        let strings = Strings {
            lines: DebugLineStr::new(&module.line_str, LittleEndian),
            all: DebugStr::new(&module.strings, LittleEndian),
        };
        let mut at = 0;
        while let Some((next, header_bytes)) = unit(&module.line, at) {
            if header_bytes <= HEADER_BYTES_MAX {
                self.add_unit(module, &section, &strings, at);
            }
            at = next;
        }
    }

    fn add_unit(
        &mut self,
        module: &Sections,
        section: &DebugLine<Slice<'_>>,
        strings: &Strings<'_>,
        at: usize,
    ) {
        // Addresses of wasm have four bytes, whatever the header says.
        let Ok(program) = section.program(DebugLineOffset(at), 4, None, None) else {
            return;
        };
        let mut known = Vec::new();
        let mut rows = program.rows();
        // A linker leaves the lines of functions that it threw away at 0, where no code is.
        let mut dead = None;
        while let Ok(Some((header, row))) = rows.next_row() {
            let (address, ended) = (row.address(), row.end_sequence());
            let thrown_away = *dead.get_or_insert(address == 0);
            if ended {
                dead = None;
            }
            let Some(address) = place(&module.code, address) else {
                continue;
            };
            if thrown_away || self.rows.len() >= ROWS_MAX {
                continue;
            }
            let narrow = |n: u64| u32::try_from(n).unwrap_or(0);
            let file = if ended {
                NO_FILE
            } else {
                self.file(&mut known, row.file_index(), header, strings)
            };
            self.rows.push(Row {
                address,
                file,
                line: row.line().map_or(0, |line| narrow(line.get())),
                column: match row.column() {
                    ColumnType::LeftEdge => 0,
                    ColumnType::Column(column) => narrow(column.get()),
                },
            });
        }
    }

    /// The number of a file of a unit in the table; `known` are those of the same unit.
    fn file(
        &mut self,
        known: &mut Vec<(u64, u32)>,
        index: u64,
        header: &LineProgramHeader<Slice<'_>>,
        strings: &Strings<'_>,
    ) -> u32 {
        // A unit's rows stay in one file for long, and its files are few.
        if let Some((_, number)) = known.iter().rev().find(|(known, _)| *known == index) {
            return *number;
        }
        let number = file_name(index, header, strings)
            .filter(|name| self.files_bytes + name.len() <= FILES_BYTES_MAX)
            .map_or(NO_FILE, |name| {
                self.files_bytes += name.len();
                self.files.push(name.into());
                u32::try_from(self.files.len() - 1).unwrap_or(NO_FILE)
            });
        if known.len() == KNOWN_MAX {
            known.clear();
        }
        known.push((index, number));
        number
    }
}

/// Files of one unit that are looked for before a name is made again: a search must not be what takes long.
const KNOWN_MAX: usize = 64;

/// Where the unit that begins at `at` ends, and the bytes of its header.
fn unit(section: &[u8], at: usize) -> Option<(usize, usize)> {
    let word = |at: usize| {
        let bytes = section.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let length = word(at)?;
    let begin = at.checked_add(4)?;
    // What is larger is the mark of 64 bits, or reserved.
    let end = (length < 0xffff_fff0).then(|| begin.checked_add(length))??;
    let version = section.get(begin..begin.checked_add(2)?)?;
    let header_at = match version {
        // Two more bytes: the sizes of an address and of a segment.
        [5, 0] => begin.checked_add(4)?,
        _ => begin.checked_add(2)?,
    };
    Some((end, word(header_at)?))
}

/// An address in a module's code as a place in the component.
fn place(code: &Range<usize>, address: u64) -> Option<u32> {
    let place = code.start.checked_add(usize::try_from(address).ok()?)?;
    (place <= code.end).then(|| u32::try_from(place).ok())?
}

/// A file's path as the unit has it, escaped; without its directory where it would be too long.
fn file_name(
    index: u64,
    header: &LineProgramHeader<Slice<'_>>,
    strings: &Strings<'_>,
) -> Option<String> {
    let text = |value| {
        let bytes = match value {
            AttributeValue::String(bytes) => bytes,
            AttributeValue::DebugLineStrRef(offset) => strings.lines.get_str(offset).ok()?,
            AttributeValue::DebugStrRef(offset) => strings.all.get_str(offset).ok()?,
            _ => return None,
        };
        // Cut before it is looked at: nothing longer is shown.
        let bytes = bytes.slice();
        let cut = bytes.get(..bytes.len().min(FRAME_BYTES_MAX * 2))?;
        Some(String::from_utf8_lossy(cut).into_owned())
    };
    let file = header.file(index)?;
    let name = text(file.path_name())?;
    let directory = file.directory(header).and_then(text);
    let path = match directory {
        Some(directory)
            if !name.starts_with('/')
                && !directory.is_empty()
                && directory.len() + name.len() < FRAME_BYTES_MAX =>
        {
            format!("{directory}/{name}")
        }
        _ => name,
    };
    Some(printable(&path, FRAME_BYTES_MAX))
}
