#include "textflag.h"

// func prefetch(base unsafe.Pointer, refs *ref, n int)
TEXT ·prefetch(SB), NOSPLIT, $0-24
	MOVQ base+0(FP), AX
	MOVQ refs+8(FP), BX
	MOVQ n+16(FP), CX
	TESTQ CX, CX
	JLE  done

loop:
	MOVL (BX), DX
	PREFETCHT0 (AX)(DX*8)
	PREFETCHT0 64(AX)(DX*8)
	ADDQ $4, BX
	DECQ CX
	JNZ  loop

done:
	RET

// func prefetchLine(p unsafe.Pointer)
TEXT ·prefetchLine(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET
