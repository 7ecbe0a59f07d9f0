//! What is in an image: sections and symbols of a 32-bit little-endian ELF file.

use std::path::Path;

use super::names::readable;
use crate::Result;

/// Sections that are the program's own memory. A board may have others that can be written: they stand for
/// memory that is not RAM.
const RAM: [&str; 5] = [".data", ".bss", ".uninit", ".sram", ".note"];

/// Of a section: it is in the image; it has no bytes in the file.
const ALLOCATED: u32 = 2;
const NO_BITS: u32 = 8;

/// Kinds of sections, and of symbols.
const SYMBOL_TABLE: u32 = 2;
const OBJECT: u8 = 1;
const FUNCTION: u8 = 2;

/// An image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// Bytes of flash: vector table, code, constants, initial values.
    pub flash: u64,
    /// Bytes of static memory; the stack comes on top.
    pub ram: u64,
    /// Its functions and statics.
    pub symbols: Vec<Symbol>,
}

/// A function, a static, or a place that the linker names.
#[derive(Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As a person would write it, without the numbers that differ from build to build.
    pub name: String,
    /// Where it is.
    pub address: u32,
    /// How many bytes it takes.
    pub bytes: u64,
    /// What they are.
    pub memory: Memory,
}

/// What a symbol takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Flash.
    Flash,
    /// Static memory. What has initial values takes flash as well.
    Ram,
    /// Neither.
    Other,
}

struct Section {
    name: String,
    kind: u32,
    flags: u32,
    offset: usize,
    bytes: usize,
    /// For a table of symbols, the section with their names.
    link: usize,
}

/// Reads the file at `path`.
pub fn read(path: &Path) -> Result<Elf> {
    let elf = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&elf).ok_or_else(|| format!("{} is not a 32-bit little-endian ELF file", path.display()))
}

impl Elf {
    /// The address of a place that the linker names.
    pub fn address(&self, name: &str) -> Result<u32> {
        let found = self.symbols.iter().find(|symbol| symbol.name == name);
        found.map(|symbol| symbol.address).ok_or_else(|| format!("the image has no symbol `{name}`"))
    }
}

fn parse(elf: &[u8]) -> Option<Elf> {
    // The class (32-bit) and the data encoding (little-endian) follow the magic number.
    elf.strip_prefix(b"\x7fELF\x01\x01")?;
    let sections = sections(elf)?;
    let mut image = Elf::default();
    for section in sections.iter().filter(|section| section.flags & ALLOCATED != 0) {
        let (is_ram, bytes) = (is_ram(section), section.bytes as u64);
        image.ram += if is_ram { bytes } else { 0 };
        image.flash += if section.kind == NO_BITS { 0 } else { bytes };
    }
    for table in sections.iter().filter(|section| section.kind == SYMBOL_TABLE) {
        let names = content(elf, sections.get(table.link)?)?;
        for entry in content(elf, table)?.chunks_exact(16) {
            let section = sections.get(half(entry, 14)?);
            let memory =
                match (entry.get(12)? & 15, section) {
                    (OBJECT | FUNCTION, Some(section)) if section.flags & ALLOCATED != 0 => {
                        if is_ram(section) { Memory::Ram } else { Memory::Flash }
                    }
                    _ => Memory::Other,
                };
            let name = readable(&text(names, word(entry, 0)?)?);
            image.symbols.push(Symbol {
                name,
                address: word(entry, 4)? as u32,
                bytes: word(entry, 8)? as u64,
                memory,
            });
        }
    }
    Some(image)
}

fn is_ram(section: &Section) -> bool {
    RAM.iter().any(|name| {
        section.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn sections(elf: &[u8]) -> Option<Vec<Section>> {
    let (table, entry_bytes, entries) = (word(elf, 0x20)?, half(elf, 0x2e)?, half(elf, 0x30)?);
    let mut found = Vec::new();
    for index in 0..entries {
        let entry = elf.get(table.checked_add(index * entry_bytes)?..)?;
        found.push((
            word(entry, 0)?,
            Section {
                name: String::new(),
                kind: word(entry, 4)? as u32,
                flags: word(entry, 8)? as u32,
                offset: word(entry, 16)?,
                bytes: word(entry, 20)?,
                link: word(entry, 24)?,
            },
        ));
    }
    let names = content(elf, &found.get(half(elf, 0x32)?)?.1)?;
    found.into_iter().map(|(at, section)| Some(Section { name: text(names, at)?, ..section })).collect()
}

fn content<'e>(elf: &'e [u8], section: &Section) -> Option<&'e [u8]> {
    elf.get(section.offset..section.offset.checked_add(section.bytes)?)
}

fn text(names: &[u8], at: usize) -> Option<String> {
    let name = names.get(at..)?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with a table of these sections: name, kind, flags, content, bytes if there is none.
    fn file(sections: &[(&str, u32, u32, &[u8], u32)]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x01\x01".to_vec();
        elf.resize(0x34, 0);
        let (mut table, mut names) = (Vec::new(), Vec::new());
        for (name, kind, flags, content, bytes) in sections {
            let bytes = if content.is_empty() { *bytes } else { content.len() as u32 };
            // Of a table of symbols, the names are in the section behind it.
            let link = table.len() as u32 / 40 + 1;
            for field in [names.len() as u32, *kind, *flags, 0, elf.len() as u32, bytes, link, 0, 0, 0] {
                table.extend(field.to_le_bytes());
            }
            names.extend(name.as_bytes());
            names.push(0);
            elf.extend(*content);
        }
        for field in [0, 3, 0, 0, elf.len() as u32, names.len() as u32, 0, 0, 0, 0] {
            table.extend(field.to_le_bytes());
        }
        elf.extend(names);
        let at = elf.len() as u32;
        elf[0x20..0x24].copy_from_slice(&at.to_le_bytes());
        elf[0x2e] = 40;
        elf[0x30] = sections.len() as u8 + 1;
        elf[0x32] = sections.len() as u8;
        elf.extend(table);
        elf
    }

    #[test]
    fn sections_by_kind() {
        let elf = file(&[
            (".text", 1, 6, b"code", 0),
            (".data", 1, 3, b"initialised", 0),
            (".bss", NO_BITS, 3, b"", 1_000),
            (".bssx", NO_BITS, 3, b"", 4),
            (".nor", NO_BITS, 3, b"", 5_000),
            (".debug", 1, 0, b"words", 0),
        ]);
        assert_eq!(parse(&elf), Some(Elf { flash: 15, ram: 1_011, symbols: Vec::new() }));
        assert_eq!(parse(&elf[..elf.len() - 40]), None);
        assert_eq!(parse(b"#!/bin/sh"), None);
    }

    #[test]
    fn symbols_by_memory() {
        let symbol = |name: u32, address: u32, bytes: u32, kind: u8, section: u8| {
            let mut entry = Vec::new();
            [name, address, bytes].iter().for_each(|field| entry.extend(field.to_le_bytes()));
            entry.extend([kind, 0, section, 0]);
            entry
        };
        let table =
            [symbol(0, 1, 3, FUNCTION, 0), symbol(2, 2, 5, OBJECT, 1), symbol(2, 9, 0, 0, 0)].concat();
        let elf = file(&[
            (".text", 1, 6, b"code", 0),
            (".bss", NO_BITS, 3, b"", 10),
            (".symtab", SYMBOL_TABLE, 0, &table, 0),
            (".strtab", 3, 0, b"f\0end\0", 0),
        ]);
        let image = parse(&elf).unwrap();
        let found: Vec<_> = image.symbols.iter().map(|it| (it.name.as_str(), it.bytes, it.memory)).collect();
        assert_eq!(found, [("f", 3, Memory::Flash), ("end", 5, Memory::Ram), ("end", 0, Memory::Other)]);
        assert_eq!(image.address("f"), Ok(1));
        assert!(image.address("g").is_err());
    }
}
