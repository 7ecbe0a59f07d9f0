/* What runs before main on a Cortex-M3, and what speaks to QEMU. */
#include "board.h"

extern uint32_t data_start, data_end, data_from, bss_start, bss_end, stack_bottom, stack_top;

int main(void);

static void semihosting(uint32_t operation, const void *parameter)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameter;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void print(const char *text)
{
    semihosting(0x04, text); /* SYS_WRITE0 */
}

void leave(uint32_t code)
{
    const uint32_t parameters[2] = {0x20026 /* an exit of the application */, code};
    for (;;)
        semihosting(0x20, parameters); /* SYS_EXIT_EXTENDED */
}

/* A pattern that nobody writes. */
#define PAINT 0x5AFEC0DEu

static volatile uint32_t *painted_end;

__attribute__((noinline)) void paint_stack(void)
{
    /* What is nearer is the frame of this. */
    volatile uint32_t *word = &stack_bottom;
    painted_end = (uint32_t *)__builtin_frame_address(0) - 16;
    while (word < painted_end)
        *word++ = PAINT;
}

uint32_t painted_stack(void)
{
    volatile uint32_t *word = &stack_bottom;
    while (word < painted_end && *word == PAINT)
        word++;
    return (uint32_t)(painted_end - word) * 4 + 64;
}

__attribute__((used)) void reset(void)
{
    uint32_t *to;
    const uint32_t *from = &data_from;
    for (to = &data_start; to < &data_end;)
        *to++ = *from++;
    for (to = &bss_start; to < &bss_end;)
        *to++ = 0;
    leave((uint32_t)main());
}

static void fault(void)
{
    print("a fault\n");
    leave(100);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
