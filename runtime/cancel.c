/* cancel.c - skua/cancel.h: shields. How they work: sched/interrupt.h. */
#include "skua/cancel.h"

void skua_shield_begin(skua_cx *cx)
{
	cx->shields++;
}

skua_poll skua_shield_end(skua_cx *cx, skua_poll result)
{
	cx->shields--;
	return result;
}
