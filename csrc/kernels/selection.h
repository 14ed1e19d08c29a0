// SPDX-License-Identifier: Apache-2.0
// Which ops a build knows, which kernels of them it has, whether it can run them in bands, reads packed copies of both precisions and
// skips absent blocks of weights: all, unless a firmware is made for one model (runtime/container/kernel_use.py). The check refuses a
// container that needs more, so the engine never meets it.
#ifndef JLT_KERNELS_SELECTION_H
#define JLT_KERNELS_SELECTION_H

#ifdef JLT_OPS
#define JLT_IS_SELECTION 1
#else
#define JLT_IS_SELECTION 0
#define JLT_OPS 0xFFFFFFFFu          // a bit for each OpCode
#define JLT_REF_OPS 0xFFFFFFFFu      // which of them have their reference kernel
#define JLT_ISA_KERNELS 0xFFFFFFFFu  // a bit for each kernel of the instruction set, in the order of kernels.def
#define JLT_BANDS 1                  // whether ops may run in bands (core/bands.h)
#define JLT_SHARED 1                 // whether a packed copy may serve both precisions (packed.h of the instruction set)
#define JLT_SPARSE 1                 // whether sparse copies of weights are read (kernels/sparse.h)
#endif

#define JLT_HAS(set, bit) (!JLT_IS_SELECTION || ((set) >> ((bit) & 31u) & 1u) != 0)

// Where a table by OpCode has what belongs to an op: what a build does not know all goes to place 0, which the table empties last.
#define JLT_PLACE(code) [JLT_HAS(JLT_OPS, JLT_OP_CODE_##code) ? JLT_OP_CODE_##code : 0]

#endif
