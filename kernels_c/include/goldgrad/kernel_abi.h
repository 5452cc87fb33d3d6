/* What every kernel has in common (specs/kernel-abi.md).  The other headers say what is peculiar to an operator. */
#ifndef GOLDGRAD_KERNEL_ABI_H
#define GOLDGRAD_KERNEL_ABI_H

/*
 * The caller promises:
 *
 *   ABI-I1  Arrays are dense, row-major, channels last; float is IEEE 754 binary32.
 *   ABI-I2  An absent optional operand and an unwanted optional result are NULL, nothing else is (but scratch of 0 bytes).
 *   ABI-C1  Operands and results are aligned to their element, scratch to 8.
 *   ABI-C2  Sizes are at least 1, no array has more than 2^31 - 1 elements; any such size is legal.
 *   ABI-S3  All constraints hold.  Kernels check nothing and return nothing.
 *   ABI-A1  A result starts at an operand's address only for a pair of the operator's aliasing table, and nothing
 *           else overlaps.
 *   ABI-M1  scratch has as many bytes as ..._scratch_bytes says.
 *   ABI-S5  That function and the kernel are of one set: the portable one, or one for a core.
 *   ABI-N1  The FPU rounds to nearest even, keeps subnormals and does not trap.
 *
 * The kernel promises:
 *
 *   ABI-S1  It is named gg_<op>_<function>; attributes come first, then operands, results, scratch.
 *   ABI-S2  It computes one sample.
 *   ABI-F1  It writes results and scratch only.
 *   ABI-F2  It does not read what results held, unless one takes an operand's place, and defines every byte of them.
 *   ABI-M2  It allocates nothing, keeps nothing, and is reentrant.
 *   ABI-M3  Its stack has a bound that does not depend on sizes.
 *   ABI-M4  It needs no C library.
 *   ABI-N2  It was compiled with -ffp-contract=off and without -ffast-math.
 *
 * ABI-S4: the version grows when any of this, a prototype or a struct changes.
 */
#define GG_ABI_VERSION 5

#endif
