// Tables of functions, one for each instruction set: a source file is compiled once for each, with KERNEL as the set's name and
// LANES as the floats of a vector. This header includes nothing, because inline functions of the standard library that such a
// file compiled would hold instructions that the processor may not have.
#pragma once

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)

// The table that the file at hand defines, and the name of its instruction set.
#define TABLE(suffix) JOIN(KERNEL, suffix)
#define SET_NAME TEXT(KERNEL)

// All tables of one kind: declared, and as pointers.
#ifdef SPLAT_X86
#define DECLARE_TABLES(type, suffix) extern const type baseline##suffix, avx2##suffix, avx512##suffix
#define ALL_TABLES(suffix) &baseline##suffix, &avx2##suffix, &avx512##suffix
#else
#define DECLARE_TABLES(type, suffix) extern const type baseline##suffix
#define ALL_TABLES(suffix) &baseline##suffix
#endif
